package frameworks

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Gorilla serves the API with github.com/gorilla/mux.
func Gorilla(s *Service, stack *seawall.Stack) http.Handler {
	router := mux.NewRouter()
	router.SkipClean(true) // a redirect to a clean path would be recorded for an Idempotency-Key
	noRoute := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if methods := gorillaMethods(router, r); len(methods) > 0 {
			w.Header()["Allow"] = methods
			methodNotAllowed(w, r)
			return
		}
		notFound(w, r)
	})
	router.NotFoundHandler = noRoute // mux calls it for some wrong methods of a Subrouter, too
	router.MethodNotAllowedHandler = noRoute

	v1 := router.PathPrefix("/v1").Subrouter()
	v1.Handle("/resources", apierror.HandlerFunc(s.create)).Methods("POST")
	v1.Handle("/resources/{id}", apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return s.get(w, r, mux.Vars(r)["id"])
	})).Methods("GET", "HEAD")
	v1.Handle("/events", apierror.HandlerFunc(s.Events)).Methods("GET")
	return withRoute(stack.Handler(router), func(r *http.Request) string { return gorillaRoute(router, r) })
}

// gorillaRoute returns the route that r matches, or "".
func gorillaRoute(router *mux.Router, r *http.Request) string {
	var match mux.RouteMatch
	if !router.Match(r, &match) || match.MatchErr != nil {
		return ""
	}
	path, _ := match.Route.GetPathTemplate()
	return path
}

// gorillaMethods returns the methods of all routes that match the path of r, because mux does not
// tell them.
func gorillaMethods(router *mux.Router, r *http.Request) (methods []string) {
	_ = router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		var match mux.RouteMatch
		if !route.Match(r, &match) && match.MatchErr == mux.ErrMethodMismatch { //nolint:errorlint // mux does not wrap it
			of, _ := route.GetMethods()
			methods = append(methods, of...)
		}
		return nil
	})
	return methods
}
