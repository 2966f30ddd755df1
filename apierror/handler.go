package apierror

import (
	"context"
	"net/http"

	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// HandlerFunc is an [http.Handler] that returns its error instead of writing it. The error
// is sent with [Write]. A nil error means that the handler has written the response. The
// functions that a handler calls should return the type error: a nil *Error in an error is
// not nil, and is sent as api_error.
//
//	mux.Handle("POST /v1/resources", apierror.HandlerFunc(create))
type HandlerFunc func(http.ResponseWriter, *http.Request) error

// ServeHTTP calls f. If f returns an error, ServeHTTP sends it with [Write].
func (f HandlerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if reqstate.HasBody(r) && reqstate.Of(w, r) == nil {
		// No middleware of ours is further out, so the body is watched here: Write must
		// know the error that reading it failed with.
		w, c, _ := reqstate.Enter(w, r)
		reqstate.Serve(f, w, r, c)
		return
	}
	w, _ = track.Wrap(w, r)
	if err := f(w, r); err != nil {
		Write(w, r, err)
	}
}

// RequestIDFrom returns the id of the request that ctx belongs to, for logs and outgoing calls.
// It is empty if there is none.
func RequestIDFrom(ctx context.Context) string { return reqstate.From(ctx).RequestID() }
