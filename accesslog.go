package seawall

import (
	"cmp"
	"context"
	"errors"
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

	// Mux names the route of a request that was answered before it came to the mux: refused by a limit, say, or replayed. Nil
	// leaves the pattern of such requests empty.
	Mux *http.ServeMux

	// Attrs adds to a line what the service wants to see: a header, the path, the principal. It is called when the handler has
	// returned. Nil adds nothing. If it panics the line says so.
	Attrs func(*http.Request) []slog.Attr
}

// AccessLog writes one line per request, when its handler has returned:
//
//	method      GET; of one that nobody has heard of the first 32 characters
//	pattern     the route, as the mux knows it: "GET /v1/resources/{id}"; "" where none matched
//	status      the status that went out; 499 where the request was cancelled before one did; 0 where none ever did, because
//	            the connection was hijacked or cut off
//	bytes       of the body
//	duration    until the handler returned; slog's JSON handler writes nanoseconds
//	request_id  ""  outside of RequestID
//	code        of the error that was answered, or came too late to be; absent for none, for a replay, and where the client left
//	            in the middle
//	replayed    true where an Idempotency-Key's first answer was given again; absent else
//	aborted     true where the response was cut off; absent else
//
// The path, the query and the headers are not in it: they hold ids, keys and tokens. Nil options are the defaults. The pattern is
// known where the mux is wrapped in [NotFound], as [Stack] does, where it is named in the options, or where no layer between
// copies the request. An AccessLog inside of another one writes a line of its own.
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
				opt.write(r, state, response, start, !returned)
			}()
			next.ServeHTTP(w, r)
			returned = true
		})
	}
}

func (o *AccessLogOptions) write(r *http.Request, state *reqstate.State, response *track.Response, start time.Time, aborted bool) {
	took := time.Since(start)
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	if !logger.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("method", loggedMethod(r)),
		slog.String("pattern", o.pattern(r, state, response)),
		slog.Int("status", loggedStatus(r, state, response, aborted)),
		slog.Int64("bytes", response.Bytes()),
		slog.Duration("duration", took),
		slog.String("request_id", state.RequestID()))
	if err := state.Err(); err != nil {
		attrs = append(attrs, slog.String("code", string(apierror.CodeOf(err))))
	}
	if len(response.Header()["Idempotent-Replayed"]) > 0 {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if o.Attrs != nil {
		attrs = append(attrs, o.extra(r)...)
	}
	// Not by way of the Logger, which looks for the line of code that logs: it is always this one.
	line := slog.NewRecord(start.Add(took), slog.LevelInfo, "request", 0)
	line.AddAttrs(attrs...)
	_ = logger.Handler().Handle(r.Context(), line)
}

func (o *AccessLogOptions) extra(r *http.Request) (attrs []slog.Attr) {
	defer func() {
		if v := recover(); v != nil {
			attrs = []slog.Attr{slog.String("attrs_panic", panicText(v))}
		}
	}()
	return o.Attrs(r)
}

// maxMethod is longer than every registered method (RFC 9110, section 16.1), and shorter than what a stranger may send.
const maxMethod = 32

func loggedMethod(r *http.Request) string {
	return r.Method[:min(len(r.Method), maxMethod)]
}

func (o *AccessLogOptions) pattern(r *http.Request, state *reqstate.State, response *track.Response) string {
	if r.Method == http.MethodConnect && response.Status()/100 == 3 {
		return "" // ServeMux gives the path itself as the pattern of a CONNECT that it redirects
	}
	pattern := cmp.Or(state.Pattern(), r.Pattern)
	if pattern == "" && o.Mux != nil && r.Method != http.MethodConnect && r.RequestURI != "*" {
		_, pattern = o.Mux.Handler(r)
	}
	return pattern
}

// statusClientGone is how a request that was cancelled before it was answered is counted: the client has gone, as a rule. It
// never goes over the wire.
const statusClientGone = 499

func loggedStatus(r *http.Request, state *reqstate.State, response *track.Response, aborted bool) int {
	switch {
	case response.Hijacked():
		return 0
	case state.Gone():
		return statusClientGone
	case response.Status() != 0:
		return response.Status()
	case errors.Is(r.Context().Err(), context.Canceled):
		return statusClientGone
	case aborted:
		return 0
	default:
		return http.StatusOK // net/http says so for a handler that wrote nothing
	}
}
