// Package dynamic has a catalog that is known only at run time, so nothing is reported.
package dynamic

import (
	"net/http"

	"example.com/shop/codes/errs"

	"github.com/seawall-go/seawall/apierror"
)

// Known is a Renderer too, but the other one may define what it does not.
var Known = &apierror.Renderer{Catalog: apierror.MustCatalog(errs.CardDeclined)}

// Renderer returns a Renderer.
func Renderer(read func() []apierror.Definition, catalog *apierror.Catalog) *apierror.Renderer {
	defs := []apierror.Definition{errs.CardDeclined}
	defs = append(defs, read()...)
	if catalog != nil {
		return &apierror.Renderer{Catalog: catalog}
	}
	return &apierror.Renderer{Catalog: apierror.MustCatalog(defs...)}
}

func handle(http.ResponseWriter, *http.Request) error { return apierror.Code("not_known") }
