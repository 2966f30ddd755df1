package reqstate

import (
	"bytes"
	"io"
	"math"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// body is the body of a request. It tells the request what reading it has failed with. Then the
// client or the network is at fault, and a handler that returns this error says so.
type body struct {
	io.ReadCloser
	request *request
	form    *formEnd // nil if the body is no multipart form
}

// HasBody reports whether r may have a body that is not empty.
func HasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// limitedBody is what ParseForm knows a body by that has a bound, which may be higher than its own.
var limitedBody = reflect.TypeOf(http.MaxBytesReader(nil, nil, 0))

// watch returns the body of r, so that q learns what reading it fails with.
func (q *request) watch(r *http.Request) io.ReadCloser {
	if !HasBody(r) {
		return r.Body
	}
	watched := &body{ReadCloser: r.Body, request: q, form: newFormEnd(r.Header)}
	if reflect.TypeOf(r.Body) == limitedBody {
		return http.MaxBytesReader(nil, watched, math.MaxInt64)
	}
	return watched
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.form != nil {
		b.form.look(p[:n])
	}
	switch {
	case err == nil, err == http.ErrBodyReadAfterClose: //nolint:errorlint // net/http closes it when an answer goes out
	case err != io.EOF:
		b.request.bodyEnded(err)
	case b.form != nil && !b.form.found:
		b.request.bodyEnded(io.ErrUnexpectedEOF)
	}
	return n, err
}

// Close also makes what a later Read fails with the reader's own fault.
func (b *body) Close() error {
	b.request.bodyEnded(nil)
	return b.ReadCloser.Close()
}

// bodyEnded records the first error of reading the body. It is nil for one that is closed.
func (q *request) bodyEnded(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.bodyDone {
		q.bodyDone, q.bodyErr = true, err
	}
}

// BodyErr returns what reading the body of the request has failed with. For a multipart form that
// ends without its last boundary it is io.ErrUnexpectedEOF, which mime/multipart makes of the end.
// It is nil for nothing.
func (s *State) BodyErr() error { return get(s, func(q *request) error { return q.bodyErr }) }

// formEnd looks for the last boundary of a multipart form (RFC 2046, section 5.1.1), which
// begins a line.
type formEnd struct {
	boundary []byte
	tail     []byte // of what was read, shorter than the boundary
	found    bool
}

// newFormEnd returns nil if there is no boundary to be found.
func newFormEnd(h http.Header) *formEnd {
	const multipart = "multipart/"
	contentType := h.Get("Content-Type")
	if len(contentType) < len(multipart) || !strings.EqualFold(contentType[:len(multipart)], multipart) {
		return nil // most bodies: there is no need to parse it
	}
	_, params, _ := mime.ParseMediaType(contentType)
	if params["boundary"] == "" || h.Get("Content-Encoding") != "" {
		return nil
	}
	return &formEnd{boundary: []byte("\n--" + params["boundary"] + "--"), tail: []byte("\n")}
}

// look is told what was read.
func (f *formEnd) look(p []byte) {
	if f.found {
		return
	}
	most := len(f.boundary) - 1
	across := slices.Concat(f.tail, p[:min(len(p), most)])
	f.found = bytes.Contains(across, f.boundary) || bytes.Contains(p, f.boundary)
	if len(p) > most {
		across = p
	}
	f.tail = append(f.tail[:0], across[max(0, len(across)-most):]...)
}
