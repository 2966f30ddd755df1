package seawall

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// Recover answers a panic with 500 api_error, whatever the value was: a panic is a bug, also when its value is an
// *apierror.Error. Value and stack go into the log, with the request id; nothing of them goes over the wire. If the response had
// begun, the connection is aborted, so that no client takes a part for the whole.
//
// [http.ErrAbortHandler] is no bug but a decision: it goes on up, unlogged. A nil logger is slog.Default().
func Recover(logger *slog.Logger) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, _ = track.Wrap(w, r)
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if v == http.ErrAbortHandler { //nolint:errorlint // the very value, as net/http compares it
					panic(v)
				}
				logPanic(logger, r, v)
				// The value is not in the error's tree: no hook may find an error in it and answer that.
				apierror.Write(w, r, apierror.Internal(reqstate.Logged("panic")))
			}()
			next.ServeHTTP(w, r)
		})
	}
}

func logPanic(logger *slog.Logger, r *http.Request, v any) {
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(r.Context(), slog.LevelError, "seawall: a handler panicked",
		slog.String("panic", fmt.Sprint(v)),
		slog.String("request_id", apierror.RequestIDFrom(r.Context())),
		slog.String("stack", string(debug.Stack())))
}
