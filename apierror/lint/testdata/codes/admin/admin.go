// Package admin has two Renderers with catalogs of their own.
package admin

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

var (
	onlyAdmin  = apierror.Definition{Code: "only_admin", Type: apierror.TypeAPI, Status: 500, Message: "Admin."}
	onlyPublic = apierror.Definition{Code: "only_public", Type: apierror.TypeAPI, Status: 500, Message: "Public."}

	// Admin and Public render.
	Admin  = &apierror.Renderer{Catalog: apierror.MustCatalog(onlyAdmin)}
	Public apierror.Renderer
)

func handlers(http.ResponseWriter, *http.Request) error {
	Public.Catalog = apierror.MustCatalog(onlyPublic)
	if Admin != nil {
		return onlyAdmin
	}
	return onlyPublic
}
