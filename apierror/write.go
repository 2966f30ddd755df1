package apierror

import (
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/retryhint"
	"github.com/seawall-go/seawall/internal/track"
)

// HandlerFunc is an http.Handler that may fail: it returns the error instead of writing it, and
// [Write] answers it. Nil means that the handler has answered.
//
//	mux.Handle("POST /v1/resources", apierror.HandlerFunc(create))
type HandlerFunc func(http.ResponseWriter, *http.Request) error

// ServeHTTP calls f and answers the error that it returns. When f had begun its answer, see
// [Write].
func (f HandlerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if reqstate.HasBody(r) && reqstate.Of(w, r) == nil { // outside of any chain: Write must know what reading the body fails with
		w, c, _ := reqstate.Enter(w, r)
		reqstate.Serve(f, w, r, c)
		return
	}
	w, _ = track.Wrap(w, r)
	if err := f(w, r); err != nil {
		Write(w, r, err)
	}
}

// Write answers a failed request: the error object, its status and its headers, as the
// [Renderer] of the request says, or the default one. What err goes out as is told at [From]; an
// error of the request's own canceled context is answered with 503 and counted as 499. A nil
// err is a mistake, answered as api_error.
//
// An error that would be api_error is parameter_invalid if reading the request's body has failed
// with it, or with an error that it wraps: the client sent less than it announced, say. For a
// multipart form that ends without its last boundary that is io.ErrUnexpectedEOF. Inside of a
// HandlerFunc, a Renderer's Handler, and the RequestID or AccessLog of package seawall, Write
// knows.
//
// Nothing is ever written twice. When the response has begun already, as far as the
// ResponseWriter can tell (inside a [HandlerFunc] and below any middleware of package seawall it
// can), the error is logged, and then
//
//   - a response that is known to be complete stands: its status or the method HEAD allows no
//     body, or as many bytes as its Content-Length says were written;
//   - a response whose status is 4xx or 5xx stands too, unless the error is a panic's: the
//     handler has answered twice;
//   - a response that a middleware holds back, as package idempotent does for a request with a
//     key, is replaced by the error;
//   - any other response is aborted: Write panics with [http.ErrAbortHandler], so that no client
//     takes a part for the whole. A 201 without a Content-Length is such a response, even if the
//     handler has written all that it meant to;
//   - a hijacked connection is left alone.
//
// Headers that are about a body which does not come now, such as Content-Length and ETag, are
// removed. A Content-Encoding stays if it was there when the HandlerFunc or the middleware
// began, for then a writer further out encodes what is written. A plain handler that calls Write
// with another writer than net/http's keeps it too: remove one that the handler has set itself.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	state := reqstate.Of(w, r)
	rd, _ := state.Renderer().(*Renderer)
	if rd == nil {
		rd = &defaults
	}
	if err == nil {
		err = errNil
	}
	a, gone := rd.resolve(r, state, err)
	e := &a.err
	e.requestID = state.EnsureRequestID(reqid.New)
	t := track.Find(w)
	begun := t != nil && t.Committed()
	stands := begun && (t.Hijacked() || t.Complete() || t.Status() >= 400 && !isPanic(e))
	if begun && !stands && track.Rewind(w) {
		begun = false
	}
	switch {
	case !begun:
		state.Sending(e, e.status, gone)
	case !gone: // who left in the middle is told nothing
		state.TooLate(w, r, e)
	}

	log := func(level slog.Level, msg string) {
		if gone && canceled(r.Context(), err) { // that happens every day
			level = slog.LevelDebug
		}
		rd.log(r, e, level, msg)
	}
	switch {
	case !begun:
		log(level(e), "apierror: request failed")
		rd.send(w, r, a, encoded(w, t))
	case t.Hijacked():
		log(slog.LevelWarn, "apierror: request failed after its connection was hijacked")
	case stands:
		log(slog.LevelWarn, "apierror: request failed after its response was complete")
	default:
		log(slog.LevelError, "apierror: request failed in the middle of its response, which is aborted")
		panic(http.ErrAbortHandler)
	}
}

// encoded reports whether a Content-Encoding in the header is that of a writer further out,
// which encodes what is written. A tracker knows what the header held before the handler could
// set anything. Without one, a writer of net/http's encodes nothing, and any other may.
func encoded(w http.ResponseWriter, t *track.Response) bool {
	switch {
	case t != nil:
		return t.Encoded()
	case w.Header()["Content-Encoding"] == nil:
		return false
	}
	typ := reflect.TypeOf(w)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.PkgPath() {
	case "net/http", "net/http/httptest", "net/http/internal/http2", "golang.org/x/net/http2":
		return false
	}
	return true
}

// level is that of an error's record: a refusal that has no cause, such as that of an overloaded
// server, is in the access log already, and there may be very many.
func level(e *Error) slog.Level {
	switch {
	case e.status == http.StatusInternalServerError:
		return slog.LevelError
	case e.status < 500 || e.cause == nil:
		return slog.LevelDebug
	default:
		return slog.LevelWarn
	}
}

// defaults is how an error looks where nobody says. It is not to be written to.
var defaults Renderer

// answer is an error that goes out, with the values of its headers, in one allocation: a header
// map holds slices, and a separate one for each would be another.
type answer struct {
	err    Error
	values [6]string
}

var errNil = errors.New("apierror: Write was given a nil error")

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// send writes the response. encoded says that a writer further out encodes the body.
func (rd *Renderer) send(w http.ResponseWriter, r *http.Request, a *answer, encoded bool) {
	e := &a.err
	problem := rd.Problem && prefersProblem(r.Header["Accept"])
	rd.setHeaders(w.Header(), e, a.values[:0], encoded, problem)
	w.WriteHeader(e.status)
	if r.Method == http.MethodHead {
		return
	}
	buffer := buffers.Get().(*[]byte)
	b := (*buffer)[:0]
	if problem {
		b = appendProblem(b, e, rd.title(e))
	} else {
		b = appendEnvelope(b, e)
	}
	if cap(b) <= 1<<16 { // a giant is not kept
		*buffer = b
	}
	if _, err := w.Write(b); err != nil {
		rd.logger().LogAttrs(r.Context(), slog.LevelDebug, "apierror: the error could not be sent",
			slog.String("request_id", e.requestID), slog.String("cause", oneLine(plain.ErrorText(err), maxMessage)))
	}
	buffers.Put(buffer) // not after a panic: who knows who reads it still
}

// describesBody reports whether a header is about the body that will not come.
func describesBody(key string) bool {
	switch key {
	case "Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Language", "Content-Length", "Content-Location",
		"Content-Md5", "Content-Range", "Digest", "Etag", "Expires", "Last-Modified", "Repr-Digest", "Surrogate-Control",
		"Trailer", "Transfer-Encoding":
		return true
	}
	return strings.HasSuffix(key, "Cache-Control") // CDN-Cache-Control and its like (RFC 9213)
}

// setHeaders makes h the header of an error's response. values is the room for what it sets.
func (rd *Renderer) setHeaders(h http.Header, e *Error, values []string, encoded, problem bool) {
	if e.more != nil {
		for key, own := range e.more.header {
			if key != "Content-Encoding" {
				h[key] = slices.Clone(own)
			}
		}
	}
	for key := range h {
		if describesBody(key) || key == "Content-Encoding" && !encoded {
			delete(h, key)
		}
	}
	set := func(key, value string) []string {
		values = append(values, value)
		one := values[len(values)-1 : len(values) : len(values)]
		h[key] = one
		return one
	}
	contentType := "application/json"
	if problem {
		contentType = "application/problem+json"
	}
	set("Content-Type", contentType)
	set("Cache-Control", "no-store")
	set("X-Content-Type-Options", "nosniff")
	h["X-Request-Id"] = set("Request-Id", e.requestID)
	if !e.Retryable() {
		set("X-Should-Retry", "false")
	} else {
		delete(h, "X-Should-Retry") // true is never sent, also if the handler set it
	}
	switch {
	case !e.Retryable(): // neither ours nor one that the handler has set: they would contradict X-Should-Retry
		delete(h, "Retry-After")
	case e.retryAfter > 0:
		set("Retry-After", retryhint.FormatAfter(e.retryAfter))
	case (e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable) && h["Retry-After"] == nil:
		set("Retry-After", "1")
	}
	if e.status == http.StatusUnauthorized && h["Www-Authenticate"] == nil {
		challenge := rd.Challenge
		if challenge == "" {
			challenge = "Bearer"
		}
		set("Www-Authenticate", challenge)
	}
	if e.status == http.StatusMethodNotAllowed && h["Allow"] == nil {
		set("Allow", "") // RFC 9110, section 15.5.6: a must
	}
	if rd.Problem {
		h.Add("Vary", "Accept")
	}
}
