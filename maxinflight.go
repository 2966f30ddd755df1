package seawall

import (
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// MaxInFlight answers a request with 503 service_unavailable and a Retry-After of one second, immediately, while n others run: for
// overload it is the last resort that keeps the process alive. A place is freed when its handler returns, however it does.
// All handlers that the middleware wraps share the n places: some frameworks wrap once per request. It panics unless n is positive.
func MaxInFlight(n int) Middleware {
	if n <= 0 {
		panic("seawall: MaxInFlight needs a positive number of requests")
	}
	places := make(chan struct{}, n) // takes no memory per place
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
