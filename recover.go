package seawall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// Recover answers a panic with 500 api_error, whatever the value was: a panic is a bug, also
// when its value is an *apierror.Error, and a Renderer's Map is not asked. A record with the
// attributes in, panic, request_id and stack goes into the log; nothing of that goes over the
// wire. The text of the panic passes the Redact of the Renderer that Recover is inside of. If
// the response had begun and is not complete, the connection is aborted, so that no client takes
// a part for the whole: see "Responses that have begun" in the package's documentation.
//
// It also answers a request that was canceled and whose handler returned without writing, as
// [apierror.Write] answers any canceled request: net/http would send an empty 200, and when it
// is the server that ends (its base context was canceled), the client is still there to take
// that for a success.
//
// [http.ErrAbortHandler] is no bug but a decision: it is re-panicked, unlogged. A nil logger is
// slog.Default().
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
				// RequestID and the Renderer may be further in, or not there.
				w, r, state := reqstate.Enter(w, r)
				state.EnsureRequestID(reqid.New)
				logPanic(logger, r, "a handler", v)
				// The value is not in the error's tree: no hook may find an error in it and
				// answer that.
				apierror.Write(w, r, apierror.CodeAPIError.New().WithCause(reqstate.Panic{})) // aborts a part of a response, whatever its status
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
		slog.String("panic", panicText(r, v)),
		slog.String("request_id", apierror.RequestIDFrom(r.Context())),
		slog.String("stack", string(debug.Stack())))
}

// maxPanicText bounds the text of a panic in the log, in bytes: it may quote what a stranger sent.
const maxPanicText = 4 << 10

// panicText returns the text of a panic's value for the log. It passes the Redact of r's
// Renderer, or else shows no userinfo, query or fragment of a URL.
func panicText(r *http.Request, v any) string {
	text := plain.RedactURLs(rawPanicText(v))
	if rd, _ := reqstate.From(r.Context()).Renderer().(*apierror.Renderer); rd != nil && rd.Redact != nil {
		text = redacted(rd.Redact, v, text)
	}
	return plain.Text(text, maxPanicText)
}

// redacted returns what redact makes of a panic. As for the cause of an error, "" and a panic
// are "(redacted)".
func redacted(redact func(error) string, v any, text string) (result string) {
	defer func() {
		if recover() != nil || result == "" {
			result = "(redacted)"
		}
	}()
	err, ok := v.(error)
	if !ok {
		err = errors.New(text)
	}
	return redact(err)
}

// rawPanicText is the text of a panic's value, also of one whose String method panics with the
// value itself: fmt gives up there.
func rawPanicText(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(a %T whose text panics)", v)
		}
	}()
	return fmt.Sprint(v)
}
