// Package audit knows neither the Renderer nor the catalog.
package audit

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

// Audit sends a code.
func Audit(http.ResponseWriter, *http.Request) error {
	return apierror.Code("audit_closed")
}
