package seawall

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// AccessLogOptions are the options of [AccessLog].
type AccessLogOptions struct {
	// Logger gets the lines, at level Info. Nil is slog.Default().
	Logger *slog.Logger

	// Attrs adds to a line what the service wants to see: a header, the path, the principal. It is called when the handler has
	// returned. Nil adds nothing. If it panics the line says so.
	Attrs func(*http.Request) []slog.Attr
}

// AccessLog writes one line per request, when its handler has returned:
//
//	method      GET
//	pattern     the route, as the mux knows it: "GET /v1/resources/{id}"; "" where none matched
//	status      the status that went out; 499 where the client had gone; 0 for a hijacked connection
//	bytes       of the body
//	duration    until the handler returned
//	request_id  ""  outside of RequestID
//	code        of the error that was answered; absent for none
//	aborted     true where the response was cut off; absent else
//
// The path, the query and the headers are not in it: they hold ids, keys and tokens. Nil options are the defaults. The pattern is
// known where the mux is wrapped in [NotFound], as [Stack] does, or where no layer between copies the request.
func AccessLog(o *AccessLogOptions) Middleware {
	var opt AccessLogOptions
	if o != nil {
		opt = *o
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			r, state := reqstate.Ensure(r)
			w, response := track.Wrap(w, r)
			returned := false
			defer func() { // no recover: a panic goes on up, with its stack
				opt.write(r, state, response, time.Since(start), !returned)
			}()
			next.ServeHTTP(w, r)
			returned = true
		})
	}
}

func (o *AccessLogOptions) write(r *http.Request, state *reqstate.State, response *track.Response, took time.Duration, aborted bool) {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	if !logger.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	pattern := state.Pattern()
	if pattern == "" {
		pattern = r.Pattern
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("method", r.Method),
		slog.String("pattern", pattern),
		slog.Int("status", loggedStatus(state, response, aborted)),
		slog.Int64("bytes", response.Bytes()),
		slog.Duration("duration", took),
		slog.String("request_id", state.RequestID()))
	if err := state.Err(); err != nil {
		attrs = append(attrs, slog.String("code", string(apierror.CodeOf(err))))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if o.Attrs != nil {
		attrs = append(attrs, o.extra(r)...)
	}
	logger.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

func (o *AccessLogOptions) extra(r *http.Request) (attrs []slog.Attr) {
	defer func() {
		if v := recover(); v != nil {
			attrs = []slog.Attr{slog.Any("attrs_panic", v)}
		}
	}()
	return o.Attrs(r)
}

// statusClientGone is how a request whose client had gone is counted. It never goes over the wire.
const statusClientGone = 499

func loggedStatus(state *reqstate.State, response *track.Response, aborted bool) int {
	switch {
	case response.Hijacked():
		return 0
	case state.Gone():
		return statusClientGone
	case response.Status() == 0 && !aborted:
		return http.StatusOK // net/http says so for a handler that wrote nothing
	default:
		return response.Status()
	}
}
