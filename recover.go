package seawall

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// Recover answers a panic with 500 api_error, whatever value it has. A response that has
// begun and is not complete is aborted: see "Responses that have begun" in the package
// documentation. A panic with [http.ErrAbortHandler] is re-panicked.
//
// The panic is logged with the attributes "in", "panic", "request_id" and "stack". The
// client only learns the id. The text of the panic passes through the Redact function of
// the [apierror.Renderer] that Recover is inside. If logger is nil, slog.Default() is used.
//
// If a request was canceled and its handler returned without writing, Recover answers it as
// [apierror.Write] does. Otherwise net/http would send an empty 200, which the client would
// mistake for a success if the server canceled the request.
func Recover(logger *slog.Logger) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, response := track.Wrap(w, r)
			before := reqstate.From(r.Context()).Routed()
			returned := false
			defer func() {
				if returned {
					return
				}
				// nil after runtime.Goexit, and after panic(nil) with GODEBUG=panicnil=1
				v := recover()
				if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
					panic(v)
				}
				answerPanic(logger, w, r, before, v)
			}()
			next.ServeHTTP(w, r)
			returned = true
			if err := r.Context().Err(); errors.Is(err, context.Canceled) && !response.Committed() {
				apierror.Write(w, r, err)
			}
		})
	}
}

// answerPanic logs a panic and answers its request. It must be called from the deferred
// function that recovered, so that the stack in the log is that of the panic. before is for
// LogContext.
func answerPanic(logger *slog.Logger, w http.ResponseWriter, r *http.Request, before int, v any) {
	w, r, state := reqstate.Enter(w, r) // RequestID and the Renderer may be absent, or further in
	state.EnsureRequestID(reqid.New)
	logPanic(state.LogContext(r.Context(), before), logger, r, "a handler", v)
	// The error does not wrap the panic's value: a value that is an *apierror.Error must not
	// become the answer.
	apierror.Write(w, r, apierror.CodeAPIError.New().WithCause(reqstate.Panic{}))
}

// logPanic logs a panic and its stack.
func logPanic(ctx context.Context, logger *slog.Logger, r *http.Request, where string, v any) {
	cmp.Or(logger, slog.Default()).LogAttrs(ctx, slog.LevelError, "seawall: panic",
		slog.String("in", where),
		slog.String("panic", panicText(r, v)),
		slog.String("request_id", apierror.RequestIDFrom(r.Context())),
		slog.String("stack", string(debug.Stack())))
}

// maxPanicText bounds the text of a panic in the log, in bytes. The text may quote a request.
const maxPanicText = 4 << 10

// panicText returns the text of a panic's value for the log, redacted by r's Renderer and without
// the userinfo, query and fragment of URLs.
func panicText(r *http.Request, v any) string {
	text := plain.PanicText(v)
	if rd, _ := reqstate.From(r.Context()).Renderer().(*apierror.Renderer); rd != nil && rd.Redact != nil {
		text = redacted(rd.Redact, v, text)
	}
	return plain.Text(text, maxPanicText)
}

// redacted returns the text that redact returns for a panic's value. It is "(redacted)" if redact
// panics or returns nothing.
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
