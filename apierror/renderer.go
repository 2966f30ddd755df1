package apierror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// Renderer says how a service's errors look. The zero value, and a nil *Renderer, are the
// defaults. It must not be changed once it is in use.
type Renderer struct {
	// Catalog holds the codes that the service sends. Nil is DefaultCatalog().
	Catalog *Catalog

	// Logger gets a record for each 5xx, with code, type, status, param, request_id and cause,
	// and for each error that could not be sent because the response had begun. Nil is
	// slog.Default().
	Logger *slog.Logger

	// Map names errors of the service's own: sql.ErrNoRows may be resource_missing, say. It is
	// asked first, with the error as the handler returned it, and returns nil for what it does
	// not know. What it returns gets the original as its cause where it has none. If it panics,
	// that is logged and the error is rendered without it.
	Map func(error) *Error

	// Redact writes a cause for the log. Nil is its Error method, without the userinfo, query
	// and fragment of the URLs in its text. If it panics or returns "", the log has
	// "(redacted)".
	Redact func(cause error) string

	// DocURL is the "doc_url" of a code; nil, an empty result, or a panic sends none.
	DocURL func(Code) string

	// Challenge is the WWW-Authenticate header of a 401 that has none of its own (RFC 9110,
	// section 11.6.1). "" is "Bearer".
	Challenge string

	// Strict sends only the nine statuses and the eight codes of the specification: an extension
	// is folded into the nearest.
	Strict bool

	// Problem answers clients that prefer application/problem+json to application/json with RFC
	// 9457's problem details.
	Problem bool
}

// Handler makes rd the Renderer of every error that is written below next, and gives the request
// the state from which outer middleware learns which error was answered. A Renderer further in
// wins for what is below it.
func (rd *Renderer) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("apierror: Renderer.Handler of a nil http.Handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, c := reqstate.WithRenderer(w, r, rd)
		reqstate.Serve(next, w, r, c)
	})
}

// RequestIDFrom returns the id of the request that ctx belongs to, for logs and outbound calls;
// "" where there is none.
func RequestIDFrom(ctx context.Context) string { return reqstate.From(ctx).RequestID() }

// resolve returns the error that err goes out as, with every part of it decided.
func (rd *Renderer) resolve(r *http.Request, state *reqstate.State, err error) (a *answer, gone bool) {
	e := rd.mapped(r, err)
	if e == nil {
		var named bool
		e, named = from(err)
		switch ctx := r.Context(); {
		case canceled(ctx, err):
			e, gone = clientGone(err), true
		case named:
		case holds(err, state.BodyErr()): // net/http cancels the request then, but a moment later
			e = unreadBody(err)
		case errors.Is(ctx.Err(), context.Canceled):
			e, gone = clientGone(err), true
		}
	}
	a = &answer{err: *e}
	e = &a.err
	rd.fill(e)
	if rd.DocURL != nil {
		url := guarded(rd, r, "DocURL", func() string { return rd.DocURL(e.code) })
		if url != e.DocURL() {
			e.ownDetails().docURL = url
		}
	}
	return a, gone
}

// isPanic reports whether err is how package seawall's Recover answers a panic. The handler may
// have stopped anywhere, so a response that has begun is whole only if nothing is left to write.
func isPanic(err error) bool {
	e, ok := err.(*Error)
	if !ok {
		return false
	}
	_, ok = e.Cause().(reqstate.Panic)
	return ok
}

// mapped asks the service's hook. A panic is a bug, whatever it takes it for.
func (rd *Renderer) mapped(r *http.Request, err error) *Error {
	if rd.Map == nil || isPanic(err) {
		return nil
	}
	e := guarded(rd, r, "Map", func() *Error { return rd.Map(err) })
	if e == nil {
		return nil
	}
	if e.Cause() == nil && error(e) != err { //nolint:errorlint // no cause of itself
		e = e.WithCause(err)
	}
	return From(e)
}

// guarded calls a hook. Of one that panics the result is the zero value.
func guarded[T any](rd *Renderer, r *http.Request, hook string, call func() T) (result T) {
	defer func() {
		if v := recover(); v != nil {
			rd.logger().LogAttrs(r.Context(), slog.LevelError, "apierror: a hook of the Renderer panicked",
				slog.String("hook", hook), slog.String("panic", plain.Text(plain.RedactURLs(panicText(v)), maxMessage)))
		}
	}()
	return call()
}

// panicText is the text of a panic's value, also of one whose own text panics.
func panicText(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(a %T whose text panics)", v)
		}
	}()
	return fmt.Sprint(v)
}

// fill leaves nothing open in e, a copy that nobody else has seen.
func (rd *Renderer) fill(e *Error) {
	if e.code == "" || e.typ == "" || e.status == 0 || e.message == "" { // few errors leave anything open
		d := rd.catalog().find(e.code)
		switch {
		case d == nil:
			d = &Definition{Code: cmp.Or(e.code, CodeAPIError), Type: TypeAPI, Message: "The request failed."}
		case e.typ == "" && e.status == 0:
			e.notRetryable = e.notRetryable || d.NotRetryable
		}
		e.code = d.Code
		e.typ = cmp.Or(e.typ, d.Type)
		e.status = cmp.Or(e.status, d.Status, e.typ.status())
		e.message = cmp.Or(e.message, d.Message)
	}
	if !e.typ.known() {
		e.typ = TypeAPI
	}
	if e.status < 400 || e.status > 599 {
		e.status = http.StatusInternalServerError
	}
	if rd.Strict {
		e.fold()
	}
}

// fold turns what the specification does not have into what it has.
func (e *Error) fold() {
	d := fold(e.code, e.typ, e.status)
	e.code, e.typ, e.status = d.Code, d.Type, d.Status
	fields := e.Fields()
	for i, f := range fields {
		if !f.Code.strict() {
			fields[i].Code = CodeParameterInvalid
		}
	}
	if len(fields) > 0 {
		e.ownDetails().fields = fields
	}
}

func (rd *Renderer) catalog() *Catalog {
	if rd.Catalog != nil {
		return rd.Catalog
	}
	return builtin
}

func (rd *Renderer) logger() *slog.Logger {
	if rd.Logger != nil {
		return rd.Logger
	}
	return slog.Default()
}

// log writes the record of an error that was answered. Only what is our fault is worth a line:
// the access log has the rest.
func (rd *Renderer) log(r *http.Request, e *Error, level slog.Level, msg string) {
	logger := rd.logger()
	_, recorded := e.cause.(reqstate.Recorded)
	if recorded || isPanic(e) || !logger.Enabled(r.Context(), level) {
		return
	}
	redact := plain.ErrorText
	if rd.Redact != nil {
		redact = func(cause error) string {
			return cmp.Or(guarded(rd, r, "Redact", func() string { return rd.Redact(cause) }), "(redacted)")
		}
	}
	logger.LogAttrs(r.Context(), level, msg, e.attrs(redact)...)
}
