package apierror

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// Write answers a failed request with the error object, its status and its headers, as the
// [Renderer] of the request says. [From] describes which error is sent for err. A nil err
// is a mistake and becomes api_error. If the request's own context was canceled, the error
// of the cancellation, or an error that would be api_error, is sent as 503, and access logs
// have 499.
//
// An error that would be api_error becomes parameter_invalid if reading the request's body
// has failed with it, or with an error that it wraps: the client sent less than it
// announced, for example. For a multipart form without its last boundary, the error is
// io.ErrUnexpectedEOF. Write knows this inside a HandlerFunc, a Renderer's Handler, and the
// RequestID and AccessLog of package seawall.
//
// Write never answers twice. If the response has begun, it logs the error. Then:
//
//   - a complete response stands: its status or the method HEAD allows no body, or as many bytes
//     as its Content-Length says were written;
//   - a 4xx or 5xx stands too, because the client already knows that the request failed.
//     After a panic it does not stand;
//   - a response that a middleware holds back, as package idempotent does for a request with a
//     key, is replaced by the error;
//   - any other response is aborted: Write panics with [http.ErrAbortHandler], so that no
//     client mistakes a part for the whole. A 201 without a Content-Length is such a
//     response, even if the handler has written all of it;
//   - a hijacked connection is left alone.
//
// Inside a [HandlerFunc], a Renderer's Handler, the RequestID, AccessLog, Recover and Timeout of
// package seawall, and the middleware of package idempotent, Write knows whether the response has
// begun. Elsewhere, that depends on the ResponseWriter.
//
// Write removes the headers that describe the body of a success, such as Content-Length and
// ETag. It keeps a Content-Encoding that was set before the HandlerFunc or the middleware
// began, because then a writer further out encodes the body. In a plain handler it also
// keeps one if the ResponseWriter is not net/http's, so such a handler must remove a
// Content-Encoding that it has set.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	state := reqstate.Of(w, r)
	rd := rendererOf(state)
	if err == nil {
		err = errNil
	}
	e, gone := rd.resolve(r, state, err)
	e.requestID = state.EnsureRequestID(reqid.New)
	log := func(level slog.Level, msg string) {
		if gone && canceled(r.Context(), err) { // not a failure of the service
			level = slog.LevelDebug
		}
		rd.log(r.Context(), e, level, msg)
	}

	t := track.Find(w)
	begun := t != nil && t.Committed()
	stands := begun && (t.Hijacked() || t.Complete() || t.Status() >= 400 && !isPanic(e))
	if !begun || !stands && track.Rewind(w) {
		state.Sending(e, e.status, gone)
		log(level(e), "apierror: request failed")
		rd.send(w, r, e, encoded(w, t))
		return
	}
	if !gone { // otherwise no one waits for the error
		state.TooLate(w, r, e)
	}
	switch {
	case t.Hijacked():
		log(slog.LevelWarn, "apierror: request failed after its connection was hijacked")
	case stands:
		log(slog.LevelWarn, "apierror: request failed after its response was complete")
	default:
		log(slog.LevelError, "apierror: request failed in the middle of its response, which is aborted")
		panic(http.ErrAbortHandler)
	}
}

var errNil = errors.New("apierror: Write was given a nil error")

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled is the capacity of the largest buffer that is kept, in bytes.
const maxPooled = 64 << 10

// send writes the response. encoded reports whether a writer further out encodes the body.
func (rd *Renderer) send(w http.ResponseWriter, r *http.Request, e *Error, encoded bool) {
	problem := rd.Problem && prefersProblem(r.Header["Accept"])
	rd.setHeader(w.Header(), e, encoded, problem)
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
	if cap(b) <= maxPooled {
		*buffer = b
	}
	if _, err := w.Write(b); err != nil {
		rd.logUnsent(r.Context(), e, err)
	}
	buffers.Put(buffer) // not after a panic of Write: someone may still read it
}
