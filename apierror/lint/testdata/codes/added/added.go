// Package added adds to another package's definitions, so nothing is reported.
package added

import (
	"net/http"

	"example.com/shop/codes/list"

	"github.com/seawall-go/seawall/apierror"
)

var added = apierror.Definition{Code: "added", Type: apierror.TypeAPI, Status: 500, Message: "Added."}

func init() { list.All = append(list.All, added) }

// Renderer returns the Renderer.
func Renderer() *apierror.Renderer {
	return &apierror.Renderer{Catalog: apierror.MustCatalog(list.All...)}
}

func handle(http.ResponseWriter, *http.Request) error { return added }
