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

// Timeout gives the request's context a deadline, d after the request reaches it. If the
// handler returns after the deadline and has written nothing, the request is answered with
// 504 timeout. If the handler returns the error of the deadline, wrapped or not, it is sent
// as a 504 too.
//
// Nothing is buffered, and no handler is interrupted: one that ignores its context takes as
// long as it likes, and one that has begun its response may finish it. Only the timeouts of
// the http.Server end reads from and writes to a slow client. Use http.TimeoutHandler to
// cut off a handler. Timeout panics if d is not positive.
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
