package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// SetPattern sets r.Pattern, the route that r matched, and makes it known to the access log and
// to layers outside of the chain, which find it in their own request's Pattern. It is for routers that do not set the pattern as [http.ServeMux] does. A middleware of the router
// calls it as soon as the route is known, which may be when its next handler has returned:
//
//	router.Use(func(next http.Handler) http.Handler { // chi
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			next.ServeHTTP(w, r)
//			seawall.SetPattern(r, r.Method+" "+chi.RouteContext(r.Context()).RoutePattern())
//		})
//	})
//
// The pattern should be in the form of ServeMux, "GET /v1/resources/{id}", and must not be the
// path: paths hold ids, and metrics have a series for each pattern. The last call wins, and wins
// over a ServeMux. r must be the request that the chain has passed on, or a copy with the same
// Header map. Of another one, such as a sub-request that a handler serves with its own context,
// only r itself is changed.
func SetPattern(r *http.Request, pattern string) {
	reqstate.SetPattern(nil, r, pattern)
}
