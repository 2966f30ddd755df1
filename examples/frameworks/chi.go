package frameworks

import (
	"cmp"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Chi serves the API with github.com/go-chi/chi. Do not use the Recoverer, RequestID, Logger and
// Timeout of its package middleware: the Stack has its own, and a panic must reach it.
func Chi(s *Service, stack *seawall.Stack) http.Handler {
	router := chi.NewRouter()
	router.NotFound(notFound)
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			if chiRoute(router, method, r) != "" {
				w.Header().Add("Allow", method) // chi does so only in its own handler
			}
		}
		methodNotAllowed(w, r)
	})

	get := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return s.get(w, r, unescaped(r, chi.URLParam(r, "id")))
	})
	router.Method("POST", "/v1/resources", apierror.HandlerFunc(s.create))
	router.Method("GET", "/v1/resources/{id}", get)
	router.Method("HEAD", "/v1/resources/{id}", get)
	router.Method("GET", "/v1/events", apierror.HandlerFunc(s.Events))

	return withRoute(stack.Handler(router), func(r *http.Request) string { return chiRoute(router, r.Method, r) })
}

// chiRoute returns the route that r would match with a method, or "".
func chiRoute(router chi.Routes, method string, r *http.Request) string {
	return router.Find(chi.NewRouteContext(), method, cmp.Or(r.URL.RawPath, r.URL.Path))
}
