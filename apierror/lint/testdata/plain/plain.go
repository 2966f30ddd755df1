// Package plain does not import apierror, so only the flag -all checks it.
package plain

import "net/http"

func handle(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "plain", 500)
}
