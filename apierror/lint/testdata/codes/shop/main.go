// Shop imports the Renderer, and a package with handlers that the Renderer's does not know.
package main // want `the catalog of the Renderer does not define the code "audit_closed", which example.com/shop/codes/audit/audit.go:12 sends`

import (
	"net/http"

	"example.com/shop/codes/audit"
	"example.com/shop/codes/web"

	"github.com/seawall-go/seawall/apierror"
)

func main() {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.Handle("/audit", apierror.HandlerFunc(audit.Audit))
	mux.Handle("/main", apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.Code("only_in_main") // want `"only_in_main"`
	}))
	_ = http.ListenAndServe(":8080", mux)
}
