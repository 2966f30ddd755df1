package idempotent

import (
	"errors"
	"io"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

// Without these errors, requests with different bodies would look the same.
var (
	errConsumed = errors.New("idempotent: an outer layer has read the request body and not replaced it")
	errParsed   = errors.New("idempotent: an outer layer has parsed the request's form (FormValue, ParseForm, ParseMultipartForm) " +
		"and so read its body: put that layer inside of this middleware")
)

// requestBody is the body of a request with a key. Until it is loaded, reads come from the
// client.
type requestBody struct {
	client io.ReadCloser
	limit  int64 // of load; negative means none
	length int64 // the request's Content-Length; negative if it is not known
	parsed bool  // an outer layer has parsed the request's form
	buf    []byte
	unread []byte // the rest of buf
	loaded bool
	closed bool // by the handler
	used   bool // the handler has read from the client
	broken bool // a read from the client has failed
}

// takeOver takes over the body of r.
func (b *requestBody) takeOver(r *http.Request, limit int64) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	b.client, b.length, b.limit = r.Body, r.ContentLength, limit
	b.parsed = len(r.PostForm) > 0 || r.MultipartForm != nil
}

// load reads the whole body into memory.
func (b *requestBody) load() ([]byte, error) {
	if b.loaded {
		return b.buf, nil
	}
	if b.limit >= 0 && b.length > b.limit {
		return nil, apierror.RequestTooLarge(b.limit)
	}
	// The buffer has room for the announced length and one more byte, which is needed to see
	// the end. For a long body it starts smaller, because a client may send less than it
	// announces.
	size := int64(512)
	if b.length > 0 {
		size = min(b.length, 16<<10) + 1
	}
	buf := make([]byte, 0, size)
	for {
		n, err := b.client.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case b.limit >= 0 && int64(len(buf)) > b.limit:
			return nil, apierror.RequestTooLarge(b.limit)
		case err == io.EOF && len(buf) == 0 && b.parsed:
			return nil, errParsed
		case err == io.EOF && len(buf) == 0 && b.length > 0:
			return nil, errConsumed
		case err == io.EOF:
			b.loaded = true
			b.buf, b.unread = buf, buf
			return buf, nil
		case err != nil:
			if apierror.From(err).Code() != apierror.CodeAPIError { // such as a limit or a timeout of an outer layer
				return nil, err
			}
			return nil, apierror.CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// drop frees a body that is loaded. The request cannot run any more.
func (b *requestBody) drop() {
	if b.loaded {
		b.buf, b.unread, b.loaded, b.used = nil, nil, false, true
	}
}

// rewind returns to the beginning of the body, and reports whether that was possible.
func (b *requestBody) rewind() bool {
	b.unread, b.closed = b.buf, false
	return b.loaded || !b.used
}

func (b *requestBody) Read(p []byte) (int, error) {
	switch {
	case b.loaded && b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.loaded && len(b.unread) == 0:
		return 0, io.EOF
	case b.loaded:
		n := copy(p, b.unread)
		b.unread = b.unread[n:]
		return n, nil
	}
	b.used = true
	n, err := b.client.Read(p)
	if err != nil && err != io.EOF {
		b.broken = true
	}
	return n, err
}

func (b *requestBody) Close() error {
	b.closed = true
	return b.client.Close()
}

// reader returns the body for the handler. It is http.NoBody if the client's body is, because
// handlers compare with http.NoBody.
func (b *requestBody) reader() io.ReadCloser {
	if b.client == http.NoBody {
		return b.client
	}
	return b
}
