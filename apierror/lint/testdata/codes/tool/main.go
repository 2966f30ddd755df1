// Tool has no Renderer with a catalog, so nothing is reported.
package main

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

func main() {
	rd := &apierror.Renderer{Challenge: "Basic", Catalog: nil}
	_ = http.ListenAndServe(":8080", rd.Handler(apierror.HandlerFunc(handle)))
}

func handle(http.ResponseWriter, *http.Request) error { return apierror.Code("tool_failed") }
