// Package errs can be imported only below the folder that holds internal.
package errs

import "github.com/seawall-go/seawall/apierror"

var Catalog = apierror.CoreCatalog()

var Missing *apierror.Catalog

var Text = "not a catalog"
