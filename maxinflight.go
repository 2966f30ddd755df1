package seawall

import (
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// MaxInFlight bounds how many requests run at the same time. While n of them run, others
// are immediately answered with 503 service_unavailable and a Retry-After of one second.
// All handlers that the middleware wraps share the bound. It is a last resort that keeps an
// overloaded process alive. MaxInFlight panics if n is not positive.
func MaxInFlight(n int) Middleware {
	if n <= 0 {
		panic("seawall: MaxInFlight needs a positive number of requests")
	}
	places := make(chan struct{}, n) // elements of size zero take no memory
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				next.ServeHTTP(w, r)
			default:
				apierror.Write(w, r, apierror.ServiceUnavailable(time.Second))
			}
		})
	}
}
