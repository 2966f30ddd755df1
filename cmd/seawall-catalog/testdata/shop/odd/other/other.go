// Package named has another name than its folder.
package named

import "github.com/seawall-go/seawall/apierror"

// Function is not a variable.
func Function() *apierror.Catalog { return Catalog }

var Catalog = apierror.MustCatalog()
