package seawall

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// AccessLogOptions are the options of [AccessLog].
type AccessLogOptions struct {
	// Logger receives the lines. If nil, slog.Default() is used.
	Logger *slog.Logger

	// Mux supplies the pattern of a request that did not reach the mux: one that a limit
	// refused, for example, or one that was answered with a replay. Middleware outside the
	// chain then finds the pattern in its own request too. If nil, the pattern of such a
	// request is empty.
	Mux *http.ServeMux

	// Attrs returns attributes to add to a line: a header, for example, or the path. It is
	// called when the handler has returned. With the context of the request that it gets,
	// [Principal] returns the principal that the request was authenticated as. If nil,
	// nothing is added. If it panics, the line has the attribute attrs_panic.
	//
	// Keys and strings, at any depth, are made safe for a log, because they may come from a
	// client: white space and control characters become spaces, format characters are removed,
	// and strings of more than 1 KiB are cut. Beyond 16 KiB in total, attributes are left out,
	// and attrs_cut is true. Errors and fmt.Stringers are logged as their text, and other values
	// of [slog.KindAny] as encoding/json writes them.
	Attrs func(*http.Request) []slog.Attr

	// Level returns the level of a line. It gets the same request as Attrs, and the status
	// that is logged, which may be 499 or 0. If the level is below the Logger's, the line
	// is not written: use this for health checks, for example. If nil, or if it panics, the
	// level is slog.LevelInfo.
	Level func(r *http.Request, status int) slog.Level

	// Observe is called with what the line says, before it is written and whatever its level is.
	// It is for metrics and traces. It must not block, since the request waits for it. In its
	// context, [ErrorFrom] and [AuthenticatedAs] tell more. If it panics, the line has the
	// attribute observe_panic. If nil, nothing is observed.
	Observe func(context.Context, Event)

	// SemanticNames selects the names of OpenTelemetry's semantic conventions for HTTP,
	// where there is one: http.request.method (with the value _OTHER for an unknown method,
	// which is then in http.request.method_original), http.route (the pattern without the
	// method), http.response.status_code, http.response.body.size,
	// http.server.request.duration (in seconds), and error.type (the code). By default, the
	// names are those that [AccessLog] lists.
	SemanticNames bool
}

// AccessLog writes one line for each request, when its handler has returned:
//
//	method      the method, cut after 32 characters
//	pattern     the pattern of the route, "GET /v1/resources/{id}"; empty if no route matched
//	status      the status that was sent; 499 if the request was canceled before that; 0 if the
//	            connection was hijacked, or aborted before that
//	bytes       the size of the response's body
//	duration    the time until the handler returned
//	request_id  the id that the client received; empty without a RequestID
//	code        the code of the error that was sent
//	late_code   the code of the last error that came too late to be sent
//	replayed    true if the response was replayed for an Idempotency-Key
//	aborted     true if the response was aborted
//
// The last four are absent if they do not apply. The path, the query and headers are not logged,
// because they hold ids, keys and tokens. If o is nil, the defaults apply.
//
// The pattern is known if the mux is wrapped with [WrapMux] (a [Stack] does so), if the
// router calls [SetPattern], if the options name the mux, or if the request comes with a
// Pattern. It is also known if no other middleware between the access log and the mux
// copies the request.
//
// A handler may serve sub-requests, which have other writers and contexts that derive from
// the context of the handler's request. A sub-request has its own line if it passes through
// an AccessLog. The line has the id of the outer request.
func AccessLog(o *AccessLogOptions) Middleware {
	opt := valueOf(o)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			w, c, state := reqstate.Enter(w, r)
			_, response := track.Wrap(w, c)
			before := state.Routed()
			returned := false
			defer func() { // without recover, so that a panic keeps its stack
				end := time.Now()
				pattern := opt.pattern(w, r, c, state, response)
				if pattern != "" && pattern != c.Pattern {
					c.Pattern = pattern // for Level and Attrs
				}
				e := Event{
					Method:    c.Method,
					Pattern:   pattern,
					Status:    loggedStatus(c, state, response, !returned),
					Bytes:     response.Bytes(),
					Duration:  end.Sub(start),
					RequestID: state.RequestID(),
					LateCode:  apierror.CodeOf(state.Late()),
					Aborted:   !returned,
				}
				e.setError(state.Err())
				e.setReplay(response.Header())
				more := opt.observe(c, e)
				opt.write(state.LogContext(c.Context(), before), c, end, e, more)
			}()
			reqstate.Serve(next, w, r, c)
			returned = true
		})
	}
}

// write writes the line of r.
func (o *AccessLogOptions) write(ctx context.Context, r *http.Request, end time.Time, e Event, more []slog.Attr) {
	logger := cmp.Or(o.Logger, slog.Default())
	level := o.level(r, e.Status)
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := append(e.attrs(o.SemanticNames), more...)
	if o.Attrs != nil {
		attrs = append(attrs, plain.Attrs(slices.Clone(o.extra(r)))...) // the service may use its slice again
	}
	// A Logger would look up the line of code that logs, which is always this one.
	line := slog.NewRecord(end, level, "request", 0)
	line.AddAttrs(attrs...)
	_ = logger.Handler().Handle(ctx, line)
}

// observe calls Observe. If it panics, observe returns an attribute for the line.
func (o *AccessLogOptions) observe(r *http.Request, e Event) (attrs []slog.Attr) {
	if o.Observe == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			attrs = []slog.Attr{slog.String("observe_panic", panicText(r, v))}
		}
	}()
	o.Observe(r.Context(), e)
	return nil
}

// level returns the level of a line.
func (o *AccessLogOptions) level(r *http.Request, status int) (level slog.Level) {
	if o.Level == nil {
		return slog.LevelInfo
	}
	defer func() {
		if recover() != nil {
			level = slog.LevelInfo
		}
	}()
	return o.Level(reqstate.Logged(r), status)
}

// extra returns the attributes that the service adds.
func (o *AccessLogOptions) extra(r *http.Request) (attrs []slog.Attr) {
	defer func() {
		if v := recover(); v != nil {
			attrs = []slog.Attr{slog.String("attrs_panic", panicText(r, v))}
		}
	}()
	return o.Attrs(reqstate.Logged(r))
}

// pattern returns the pattern of r, which was passed on as c. If no router has looked for it, the
// mux is asked, and r.Pattern is set for middleware further out.
func (o *AccessLogOptions) pattern(
	w http.ResponseWriter, r, c *http.Request, state *reqstate.State, response *track.Response,
) string {
	connect := r.Method == http.MethodConnect
	if connect && response.Status()/100 == 3 {
		return "" // ServeMux returns the path as the pattern of a CONNECT that it redirects
	}
	pattern := state.Pattern(c)
	if pattern != "" || o.Mux == nil || state.Routed() > 0 || connect || r.RequestURI == "*" {
		return pattern
	}
	if _, pattern = o.Mux.Handler(c); pattern != "" {
		reqstate.SetPattern(w, r, pattern)
	}
	return pattern
}

// statusClientGone is logged for a request that was canceled before it was answered, which
// usually means that the client has gone. It is never sent.
const statusClientGone = 499

// loggedStatus returns the status of a line.
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
		return http.StatusOK // net/http sends it for a handler that wrote nothing
	}
}
