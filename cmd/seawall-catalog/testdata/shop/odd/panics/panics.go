// Package panics panics when it is imported.
package panics

import "github.com/seawall-go/seawall/apierror"

var Catalog = apierror.MustCatalog()

func init() { panic("boom") }
