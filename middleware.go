package seawall

import (
	"net/http"
	"slices"
)

// Middleware wraps a handler. It is an alias for a plain function type, so that middleware
// of other packages can be used as it is.
type Middleware = func(http.Handler) http.Handler

// Chain combines several middleware into one. The first is the outermost: it sees the
// request first and the response last. Nil ones are left out.
func Chain(outermostFirst ...Middleware) Middleware {
	return func(next http.Handler) http.Handler {
		for _, m := range slices.Backward(outermostFirst) {
			if m != nil {
				next = m(next)
			}
		}
		return next
	}
}
