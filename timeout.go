package seawall

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// Timeout gives the request's context a deadline d from now. When the handler returns after it without having written anything,
// the answer is 504 timeout; so is an error of the deadline that it returns. Nothing is interrupted and nothing is
// buffered: a handler that ignores its context takes as long as it takes, one that has begun its answer ends it, and one that waits
// for a slow client is ended by the time-outs of the http.Server alone. It panics unless d is positive.
func Timeout(d time.Duration) Middleware {
	if d <= 0 {
		panic("seawall: Timeout needs a positive duration")
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			w, response := track.Wrap(w, r)
			c := r.WithContext(ctx)
			reqstate.Serve(next, w, r, c)
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && !response.Committed() {
				apierror.Write(w, c, apierror.CodeTimeout.New().WithCause(context.Cause(ctx)))
			}
		})
	}
}
