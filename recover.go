package seawall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// Recover answers a panic with 500 api_error, whatever the value was: a panic is a bug, also when its value is an
// *apierror.Error. A record with the attributes in, panic, request_id and stack goes into the log; nothing of that goes over the
// wire. If the response had begun, the connection is aborted, so that no client takes a part for the whole.
//
// It also answers a request that was cancelled and whose handler gave up without a word, as [apierror.Write] answers any
// cancelled request: net/http would send an empty 200, and when it is the server that ends (its base context was cancelled),
// the client is still there to take that for a success.
//
// [http.ErrAbortHandler] is no bug but a decision: it goes on up, unlogged. A nil logger is slog.Default().
func Recover(logger *slog.Logger) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, response := track.Wrap(w, r)
			returned := false
			defer func() {
				if returned {
					return
				}
				v := recover()                 // nil for runtime.Goexit, and for panic(nil) under GODEBUG=panicnil=1
				if v == http.ErrAbortHandler { //nolint:errorlint // the very value, as net/http compares it
					panic(v)
				}
				logPanic(logger, r, "a handler", v)
				// The value is not in the error's tree: no hook may find an error in it and answer that.
				apierror.Write(w, r, apierror.Internal(reqstate.Logged("panic")))
			}()
			next.ServeHTTP(w, r)
			returned = true
			if err := r.Context().Err(); errors.Is(err, context.Canceled) && !response.Committed() {
				apierror.Write(w, r, err)
			}
		})
	}
}

// logPanic writes the record of a panic, in whose frame it still is.
func logPanic(logger *slog.Logger, r *http.Request, where string, v any) {
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(r.Context(), slog.LevelError, "seawall: panic", slog.String("in", where),
		slog.String("panic", panicText(v)),
		slog.String("request_id", apierror.RequestIDFrom(r.Context())),
		slog.String("stack", string(debug.Stack())))
}

// maxPanicText bounds the text of a panic in the log: it may quote what a stranger sent.
const maxPanicText = 4 << 10

// panicText is the text of a panic's value, also of one whose String method panics with the value itself: fmt gives up there.
func panicText(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(a %T whose text panics)", v)
		}
	}()
	text = fmt.Sprint(v)
	if len(text) > maxPanicText {
		text = strings.ToValidUTF8(text[:maxPanicText], "") + "..."
	}
	return text
}
