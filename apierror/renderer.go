package apierror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// Renderer holds what a service may choose about its errors. The zero value and a nil
// *Renderer have the defaults. A Renderer must not be changed once it is in use.
type Renderer struct {
	// Catalog holds the codes that the service sends. If nil, DefaultCatalog() is used.
	Catalog *Catalog

	// Logger gets a record for each 500, for each other 5xx that has a cause, and for each
	// error that came after the response had begun. At slog.LevelDebug it gets one for
	// every error. If nil, slog.Default() is used.
	Logger *slog.Logger

	// Map returns the error to send for one of the service's own errors, such as
	// resource_missing for sql.ErrNoRows. It gets each error first, as the handler returned
	// it, and returns nil for those that it does not know. If the result has no cause, the
	// handler's error becomes its cause. If Map is nil, errors are sent as [From]
	// describes. If Map panics, the panic is logged, and the error is sent as without Map.
	// Map does not get panics of handlers.
	Map func(error) *Error

	// Redact returns the text of a cause for the log. If nil, the log has the cause's text
	// without the userinfo, query and fragment of its URLs. If Redact panics or returns "",
	// the log has "(redacted)".
	Redact func(cause error) string

	// DocURL returns the "doc_url" of a code. If it is nil, returns "" or panics, there is none.
	DocURL func(Code) string

	// Challenge is the value of the WWW-Authenticate header for a 401 that has none (RFC
	// 9110, section 11.6.1). The default is "Bearer".
	Challenge string

	// Strict sends only the core codes and their statuses: see docs/WIRE.md. In place of
	// any other code, it sends the nearest core code. CoreCatalog() returns the core codes.
	Strict bool

	// Problem sends RFC 9457's problem details to clients that prefer application/problem+json
	// to application/json.
	Problem bool
}

// defaults is the Renderer of requests that have none. It must not be written to.
var defaults Renderer

// Handler returns a handler that calls next and renders every error inside it with rd. A
// Renderer further in takes precedence for the errors inside it. Handler panics if next is
// nil.
func (rd *Renderer) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("apierror: Renderer.Handler was given a nil http.Handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, c := reqstate.WithRenderer(w, r, rd)
		reqstate.Serve(next, w, r, c)
	})
}

// rendererOf returns the Renderer of a request.
func rendererOf(state *reqstate.State) *Renderer {
	if rd, _ := state.Renderer().(*Renderer); rd != nil {
		return rd
	}
	return &defaults
}

// resolve returns the error that is sent for err, complete but for the request id. gone reports
// whether the request was canceled, so the client may not read it.
func (rd *Renderer) resolve(r *http.Request, state *reqstate.State, err error) (e *Error, gone bool) {
	e, gone = rd.choose(r, state, err)
	e = e.copy()
	rd.fill(e)
	if rd.DocURL != nil {
		url := guarded(r.Context(), rd, "DocURL", func() string { return rd.DocURL(e.code) })
		if url != e.DocURL() {
			e.ownDetails().docURL = url
		}
	}
	return e, gone
}

// choose returns the error that err means to the client of this request.
func (rd *Renderer) choose(r *http.Request, state *reqstate.State, err error) (e *Error, gone bool) {
	if e := rd.mapped(r.Context(), err); e != nil {
		return e, false
	}
	e, named := from(err)
	ctx := r.Context()
	switch {
	case canceled(ctx, err):
		return clientGone(err), true
	case named:
		return e, false
	case holds(err, state.BodyErr()): // net/http cancels the request too, but a moment later
		return unreadBody(err), false
	case errors.Is(ctx.Err(), context.Canceled):
		return clientGone(err), true
	default:
		return e, false
	}
}

// mapped returns the result of Map for err. It is nil for a panic, which is always a bug.
func (rd *Renderer) mapped(ctx context.Context, err error) *Error {
	if rd.Map == nil || isPanic(err) {
		return nil
	}
	e := guarded(ctx, rd, "Map", func() *Error { return rd.Map(err) })
	if e == nil {
		return nil
	}
	if e.Cause() == nil && error(e) != err { //nolint:errorlint // an error is not its own cause
		e = e.WithCause(err)
	}
	return From(e)
}

// isPanic reports whether err is the error with which package seawall's Recover answers a
// panic.
func isPanic(err error) bool {
	e, ok := err.(*Error)
	if !ok {
		return false
	}
	_, ok = e.Cause().(reqstate.Panic)
	return ok
}

// unreadBody returns the error that is sent for err, which reading the request's body failed with.
func unreadBody(err error) *Error {
	return CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
}

// clientGone returns the error that is sent when the request's own context was canceled. There
// may be no client left. If there is one, because the server's base context ended, it must not
// get an implied 200.
func clientGone(err error) *Error { return ServiceUnavailable(time.Second).WithCause(err) }

// fill completes e, a copy that no one else has seen, from the catalog.
func (rd *Renderer) fill(e *Error) {
	if e.code == "" || e.typ == "" || e.status == 0 || e.message == "" {
		d := rd.catalog().find(e.code)
		if d == nil {
			d = &Definition{Code: cmp.Or(e.code, CodeAPIError), Type: TypeAPI, Message: "The request failed."}
			if e.cause == nil && e.typ == "" && e.status == 0 {
				e.cause = fmt.Errorf("apierror: the code %q is not in the Renderer's catalog", string(e.code))
			}
		}
		if e.status == 0 && d.Status != 0 { // the catalog decides
			e.typ, e.status = d.Type, d.Status
			e.notRetryable = e.notRetryable || d.NotRetryable
		}
		e.code = d.Code
		e.typ = cmp.Or(e.typ, d.Type)
		e.status = cmp.Or(e.status, e.typ.status())
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

func (rd *Renderer) catalog() *Catalog {
	if rd.Catalog != nil {
		return rd.Catalog
	}
	return builtin
}
