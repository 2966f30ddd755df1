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

// body is the body of a request. It records the error that reading it fails with: the
// handler may return that error, and then the client or the network is at fault.
type body struct {
	io.ReadCloser
	request *request
	form    *formEnd // nil if the body is not a multipart form
}

// HasBody reports whether r may have a body. The body may still be empty if its length is
// not known.
func HasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// limitedBody is the type by which Request.ParseForm recognizes a body that has its own bound.
var limitedBody = reflect.TypeOf(http.MaxBytesReader(nil, nil, 0))

// watch returns the body of r, wrapped so that q learns of a failed read.
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
	case err == nil, err == http.ErrBodyReadAfterClose: //nolint:errorlint // net/http returns it unwrapped
	case err != io.EOF:
		b.request.bodyEnded(err)
	case b.form != nil && !b.form.found:
		b.request.bodyEnded(io.ErrUnexpectedEOF)
	}
	return n, err
}

// Close closes the body. An error of a later Read is the handler's fault, so it is not recorded.
func (b *body) Close() error {
	b.request.bodyEnded(nil)
	return b.ReadCloser.Close()
}

// bodyEnded records the first error of reading the body, or nil if the body was closed first.
func (q *request) bodyEnded(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.bodyDone {
		q.bodyDone, q.bodyErr = true, err
	}
}

// BodyErr returns the error that reading the body of the request failed with, or nil. For a
// multipart form without its last boundary, it is io.ErrUnexpectedEOF, which mime/multipart
// returns too.
func (s *State) BodyErr() error { return get(s, func(q *request) error { return q.bodyErr }) }

// formEnd looks for the last boundary of a multipart form (RFC 2046, section 5.1.1), which is at
// the start of a line.
type formEnd struct {
	boundary []byte
	tail     []byte // the end of what was read, shorter than the boundary
	found    bool
}

// newFormEnd returns nil if h is not the header of a multipart form.
func newFormEnd(h http.Header) *formEnd {
	const multipart = "multipart/"
	contentType := h.Get("Content-Type")
	if len(contentType) < len(multipart) || !strings.EqualFold(contentType[:len(multipart)], multipart) {
		return nil // without parsing the Content-Type of most requests
	}
	_, params, _ := mime.ParseMediaType(contentType)
	if params["boundary"] == "" || h.Get("Content-Encoding") != "" {
		return nil
	}
	return &formEnd{boundary: []byte("\n--" + params["boundary"] + "--"), tail: []byte("\n")}
}

// look looks for the boundary in p, the bytes that were read next.
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
