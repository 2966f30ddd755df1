package idempotent

import (
	"bytes"
	"errors"
	"io"

	"github.com/seawall-go/seawall/apierror"
)

// errConsumed keeps requests with different bodies from looking the same.
var errConsumed = errors.New("idempotent: an outer layer has read the request body and not put it back")

// requestBody stands in for the body of a keyed request. Until it is loaded, reads come from the client.
type requestBody struct {
	client io.ReadCloser
	limit  int64 // of load; negative is none
	length int64 // what the client has announced; negative is unknown
	parsed bool  // the request's form has been
	buf    []byte
	unread []byte // what is left of buf
	loaded bool
	broken bool // a read from the client has failed
}

// load reads all of the body into memory.
func (b *requestBody) load() ([]byte, error) {
	if b.loaded {
		return b.buf, nil
	}
	if b.limit >= 0 && b.length > b.limit {
		return nil, apierror.RequestTooLarge(b.limit)
	}
	// Room for what was announced and for seeing its end, but no more than a little before it comes.
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
		case err == io.EOF && len(buf) == 0 && (b.length > 0 || b.parsed):
			return nil, errConsumed
		case err == io.EOF:
			b.loaded = true
			b.buf, b.unread = buf, buf
			return buf, nil
		case err != nil:
			if apierror.From(err).Code() != apierror.CodeAPIError { // a limit, or a time-out, further out
				return nil, err
			}
			return nil, apierror.CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// share gives up the own copy of a body that is the same, so that those who wait for one request hold its body once.
func (b *requestBody) share(other []byte) {
	if b.loaded && bytes.Equal(b.buf, other) {
		b.buf, b.unread = other, other
	}
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.loaded && len(b.unread) == 0 {
		return 0, io.EOF
	}
	if b.loaded {
		n := copy(p, b.unread)
		b.unread = b.unread[n:]
		return n, nil
	}
	n, err := b.client.Read(p)
	if err != nil && err != io.EOF {
		b.broken = true
	}
	return n, err
}

func (b *requestBody) Close() error { return b.client.Close() }
