// Package prints prints when it is imported.
package prints

import (
	"fmt"

	"github.com/seawall-go/seawall/apierror"
)

var Catalog = apierror.MustCatalog()

func init() { fmt.Println("hello") }
