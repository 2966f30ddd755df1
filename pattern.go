package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// SetPattern sets r.Pattern, the route that r matched, for routers that, unlike
// [http.ServeMux], do not set it themselves. The access log uses it, and middleware outside
// the chain finds it in its own request's Pattern. A middleware of the router calls
// SetPattern as soon as the route is known, which may be after its next handler has
// returned:
//
//	router.Use(func(next http.Handler) http.Handler { // chi
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			next.ServeHTTP(w, r)
//			seawall.SetPattern(r, r.Method+" "+chi.RouteContext(r.Context()).RoutePattern())
//		})
//	})
//
// If the router can be asked for the route of a request, a handler around the chain may set
// r.Pattern instead. Then a request that does not reach the router has its pattern too.
//
// The pattern should have the form that ServeMux uses, "GET /v1/resources/{id}". It must
// not be the path, because paths hold ids, and metrics have a series for each pattern. The
// last call wins, even over a pattern that a ServeMux has set.
//
// r must be the request that the chain has passed on, or a copy that shares its Header map. For
// any other request, such as a sub-request that a handler serves, only r itself is changed.
func SetPattern(r *http.Request, pattern string) {
	reqstate.SetPattern(nil, r, pattern)
}
