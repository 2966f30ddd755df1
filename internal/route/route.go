// Package route finds out what a router answers by itself, without a handler of the service's.
package route

import (
	"net/http"
	"reflect"
)

// A Router is a handler that routes and knows which requests it answers by itself.
type Router interface {
	// Unrouted reports whether no handler of the service's would serve r.
	Unrouted(r *http.Request) bool
}

// Unrouted reports whether h is a *http.ServeMux or a [Router] that would answer r by itself:
// with a 404, a 405 or a redirect to the canonical path. Of another handler nothing is known.
func Unrouted(h http.Handler, r *http.Request) bool {
	switch h := h.(type) {
	case *http.ServeMux:
		handler, pattern := h.Handler(r)
		return pattern == "" || reflect.TypeOf(handler) == redirect
	case Router:
		return h.Unrouted(r)
	default:
		return false
	}
}

// redirect is the type of the handlers with which a ServeMux redirects. A service that registers
// one gives the same answer to everybody, too.
var redirect = reflect.TypeOf(http.RedirectHandler("", http.StatusTemporaryRedirect))
