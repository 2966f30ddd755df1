package seawall

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// MaxInFlight answers a request with 503 service_unavailable and a Retry-After of one second, at once, while n others run: for
// overload it is the last resort that keeps the process alive. A place is freed when its handler returns, however it does. It
// panics unless n is positive.
func MaxInFlight(n int) Middleware {
	if n <= 0 {
		panic("seawall: MaxInFlight needs a positive number of requests")
	}
	return func(next http.Handler) http.Handler {
		var running atomic.Int64
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer running.Add(-1)
			if running.Add(1) > int64(n) {
				apierror.Write(w, r, apierror.ServiceUnavailable(time.Second))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
