package seawall

import (
	"net/http"
	"slices"
)

// Middleware wraps a handler. It is a plain function type, so chi's Use, otelhttp and hand-written functions fit.
type Middleware = func(http.Handler) http.Handler

// Chain makes one middleware of several. The first is the outermost: it sees the request first and the response last. Nil ones
// are left out; a chain of nothing is the handler itself.
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
