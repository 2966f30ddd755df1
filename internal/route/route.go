// Package route finds out which requests a router answers itself, without a handler of the
// service.
package route

import (
	"net/http"
	"reflect"
)

// Router is a handler that knows which requests it answers itself.
type Router interface {
	// Unrouted reports whether no handler of the service would serve r.
	Unrouted(r *http.Request) bool
}

// Unrouted reports whether h is an *http.ServeMux or a [Router] that would answer r itself,
// with a 404, a 405 or a redirect to the canonical path. It is false for any other handler.
func Unrouted(h http.Handler, r *http.Request) bool {
	switch h := h.(type) {
	case *http.ServeMux:
		handler, pattern := h.Handler(r)
		return pattern == "" || IsRedirect(handler)
	case Router:
		return h.Unrouted(r)
	default:
		return false
	}
}

// IsRedirect reports whether a ServeMux redirects with a handler that it has chosen.
func IsRedirect(h http.Handler) bool { return reflect.TypeOf(h) == redirect }

// redirect is the type of the handlers that a ServeMux redirects with. A service may
// register such a handler too, which does no harm: it also gives everyone the same answer.
var redirect = reflect.TypeOf(http.RedirectHandler("", http.StatusTemporaryRedirect))
