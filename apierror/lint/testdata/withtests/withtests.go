// Package withtests has findings in its tests only, which the flag -tests checks.
package withtests

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

func handle(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, apierror.CodeTimeout) }
