package frameworks

import (
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// HTTPRouter serves the API with github.com/julienschmidt/httprouter. Do not set its PanicHandler:
// it would answer panics before the Stack sees them.
func HTTPRouter(s *Service, stack *seawall.Stack) http.Handler {
	router := httprouter.New()
	router.RedirectTrailingSlash = false // a redirect would be recorded for an Idempotency-Key
	router.RedirectFixedPath = false
	router.NotFound = http.HandlerFunc(notFound)
	router.MethodNotAllowed = http.HandlerFunc(methodNotAllowed)

	// httprouter does not tell which route has matched, so handle does.
	handle := func(method, path string, h apierror.HandlerFunc) {
		pattern := method + " " + bracedPath(path)
		router.HandlerFunc(method, path, func(w http.ResponseWriter, r *http.Request) {
			seawall.SetPattern(r, pattern)
			h.ServeHTTP(w, r)
		})
	}
	get := func(w http.ResponseWriter, r *http.Request) error {
		return s.get(w, r, httprouter.ParamsFromContext(r.Context()).ByName("id"))
	}
	handle("POST", "/v1/resources", s.create)
	handle("GET", "/v1/resources/:id", get)
	handle("HEAD", "/v1/resources/:id", get)
	handle("GET", "/v1/events", s.Events)
	return stack.Handler(router)
}
