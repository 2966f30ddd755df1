// Package exits ends the program that imports it.
package exits

import (
	"os"

	"github.com/seawall-go/seawall/apierror"
)

var Catalog = apierror.MustCatalog()

func init() { os.Exit(0) }
