package frameworks

import (
	"net/http"
	"net/url"
	"regexp"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// notFound answers a request that matches no route. The key is freed, because no handler has run:
// the same request runs when the route is deployed.
func notFound(w http.ResponseWriter, r *http.Request) {
	idempotent.Forget(r.Context())
	apierror.Write(w, r, apierror.CodeResourceMissing.Messagef("The requested URL does not exist."))
}

// methodNotAllowed answers a request whose path has other methods. The router has set Allow.
func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	idempotent.Forget(r.Context())
	apierror.Write(w, r, apierror.MethodNotAllowed(w.Header().Values("Allow")...))
}

// withRoute names the route of each request, for the access log, metrics and traces. It goes around
// the Stack, so that requests that do not reach the router, such as one that a limit refuses, have
// their route too. For a router that cannot be asked, call seawall.SetPattern in a handler.
func withRoute(stack http.Handler, find func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := find(r); path != "" {
			r.Pattern = r.Method + " " + bracedPath(path)
		}
		stack.ServeHTTP(w, r)
	})
}

// unescaped returns a parameter of the path for a router that leaves "%3A" in it. Such a router
// matches RawPath if there is one, and otherwise the path that is unescaped already.
func unescaped(r *http.Request, param string) string {
	if plain, err := url.PathUnescape(param); err == nil && r.URL.RawPath != "" {
		return plain
	}
	return param
}

var colonParameter = regexp.MustCompile(`:(\w+)`)

// bracedPath returns a path such as "/v1/resources/:id" in the form of ServeMux,
// "/v1/resources/{id}", so that services with different routers have the same logs and metrics.
func bracedPath(path string) string { return colonParameter.ReplaceAllString(path, "{$1}") }
