package seawall

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// AccessLogOptions are the options of [AccessLog].
type AccessLogOptions struct {
	// Logger gets the lines. Nil is slog.Default().
	Logger *slog.Logger

	// Mux names the route of a request that was answered before it came to the mux: refused by a
	// limit, say, or replayed. Layers outside of the chain find the pattern in their own request
	// then, as if the mux had run. Nil leaves it empty.
	Mux *http.ServeMux

	// Attrs adds to a line what the service wants to see: a header, the path, the principal. It is
	// called when the handler has returned, with a request whose context has the principal that the
	// request was authenticated as. Nil adds nothing. If it panics, the line says so.
	//
	// All of it may come from a stranger. In its keys and in its strings, also those inside of
	// groups, slices, maps and structs, white space and control characters become spaces, format
	// characters are dropped, and a string of more than 1 KiB is cut. Beyond 16 KiB in all, the
	// rest is left out, and attrs_cut is true. LogValuers are resolved. Of the values of
	// [slog.KindAny], errors and fmt.Stringers are logged as their text, and all others as
	// encoding/json writes them.
	Attrs func(*http.Request) []slog.Attr

	// Level returns the level of the line for a status, which is one of those that the line may
	// have: 499 and 0 too. Nil is slog.LevelInfo for all. If it panics, the level is
	// slog.LevelInfo.
	Level func(status int) slog.Level

	// SemanticNames gives the attributes the names and forms of OpenTelemetry's semantic
	// conventions for HTTP, where these have one: http.request.method (_OTHER for an unknown
	// one, which is in http.request.method_original then), http.route (without the method),
	// http.response.status_code, http.response.body.size, http.server.request.duration (in
	// seconds), and error.type for the code. The others keep their names.
	SemanticNames bool
}

// AccessLog writes one line per request, when its handler has returned:
//
//	method      GET; of a longer one the first 32 characters
//	pattern     the route, as the mux or SetPattern says: "GET /v1/resources/{id}"; "" where none matched
//	status      the status that went out; 499 where the request was canceled before one did; 0 where none ever did, because
//	            the connection was hijacked or cut off
//	bytes       of the body
//	duration    until the handler returned; slog's JSON handler writes nanoseconds
//	request_id  the id that the client got; "" where no one has made one
//	code        of the error that was answered; absent for none, and for a replay
//	late_code   of an error that came too late to be sent; absent for none, and where the client left in the middle
//	replayed    true where an Idempotency-Key's first answer was given again; absent else
//	aborted     true where the response was cut off; absent else
//
// The path, the query and the headers are not in it: they hold ids, keys and tokens. Nil options
// are the defaults. The pattern is known where the mux is wrapped in [WrapMux], as [Stack]
// does, where the router says it by [SetPattern], where the mux is named in the options, or
// where no foreign layer between copies the request. An AccessLog inside of another one writes a
// separate line.
//
// A handler that serves sub-requests, with contexts derived from its own request's and with other
// writers, has one line, which is about its own request. A sub-request that goes through an
// AccessLog has a line too, with the id of the outer request.
func AccessLog(o *AccessLogOptions) Middleware {
	var opt AccessLogOptions
	if o != nil {
		opt = *o
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			w, c, state := reqstate.Enter(w, r)
			_, response := track.Wrap(w, c)
			returned := false
			defer func() { // no recover: a panic goes on up, with its stack
				took := time.Since(start)
				pattern := opt.route(w, r, c, state, response)
				opt.write(c, state, response, pattern, start, took, !returned)
			}()
			reqstate.Serve(next, w, r, c)
			returned = true
		})
	}
}

func (o *AccessLogOptions) write(
	r *http.Request, state *reqstate.State, response *track.Response, pattern string, start time.Time, took time.Duration, aborted bool,
) {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	status := loggedStatus(r, state, response, aborted)
	level := o.level(status)
	if !logger.Enabled(r.Context(), level) {
		return
	}
	names := &plainNames
	if o.SemanticNames {
		names = &semanticNames
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = names.method(attrs, r.Method)
	attrs = append(attrs,
		slog.String(names.pattern, names.route(plain.Text(pattern, maxPattern))),
		slog.Int(names.status, status),
		slog.Int64(names.bytes, response.Bytes()),
		names.duration(took),
		slog.String("request_id", state.RequestID()))
	if code := apierror.CodeOf(state.Err()); code != "" {
		attrs = append(attrs, slog.String(names.code, plain.Text(string(code), maxCode)))
	}
	if code := apierror.CodeOf(state.Late()); code != "" {
		attrs = append(attrs, slog.String("late_code", plain.Text(string(code), maxCode)))
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
	line := slog.NewRecord(start.Add(took), level, "request", 0)
	line.AddAttrs(plain.Attrs(attrs)...)
	_ = logger.Handler().Handle(r.Context(), line)
}

// A pattern is the router's, and a code the service's. A router may take the path for the pattern.
const (
	maxPattern = 256
	maxCode    = 64
)

func (o *AccessLogOptions) level(status int) (level slog.Level) {
	if o.Level == nil {
		return slog.LevelInfo
	}
	defer func() {
		if recover() != nil {
			level = slog.LevelInfo
		}
	}()
	return o.Level(status)
}

func (o *AccessLogOptions) extra(r *http.Request) (attrs []slog.Attr) {
	defer func() {
		if v := recover(); v != nil {
			attrs = []slog.Attr{slog.String("attrs_panic", panicText(r, v))}
		}
	}()
	return o.Attrs(reqstate.Logged(r))
}

// route returns the pattern of r, which was passed on as c. Where no router was reached, it asks
// the mux, and r has the pattern then, which layers further out read.
func (o *AccessLogOptions) route(
	w http.ResponseWriter, r, c *http.Request, state *reqstate.State, response *track.Response,
) string {
	connect := r.Method == http.MethodConnect
	if connect && response.Status()/100 == 3 {
		return "" // ServeMux gives the path itself as the pattern of a CONNECT that it redirects
	}
	pattern := state.Pattern(c)
	if pattern != "" || o.Mux == nil || state.Routed() || connect || r.RequestURI == "*" {
		return pattern
	}
	if _, pattern = o.Mux.Handler(c); pattern != "" {
		reqstate.SetPattern(w, r, pattern)
	}
	return pattern
}

// statusClientGone is how a request that was canceled before it was answered is counted: the
// client has gone, as a rule. It never goes over the wire.
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
