package idempotent

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

// requestBody stands in for the body of a keyed request. Until it is loaded, reads come from the client.
type requestBody struct {
	client io.ReadCloser
	limit  int64 // of load; negative is none
	bytes.Reader
	buf    []byte
	loaded bool
	broken bool // a read from the client has failed
}

// load reads all of the body into memory.
func (b *requestBody) load() ([]byte, error) {
	if b.loaded {
		return b.buf, nil
	}
	src := io.Reader(b.client)
	if b.limit >= 0 {
		src = io.LimitReader(src, b.limit+1)
	}
	buf, err := io.ReadAll(src)
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLarge):
		return nil, err // apierror knows it, and the limit in it
	case err != nil:
		return nil, apierror.CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
	case b.limit >= 0 && int64(len(buf)) > b.limit:
		return nil, apierror.RequestTooLarge(b.limit)
	}
	b.buf, b.loaded = buf, true
	b.Reset(buf)
	return buf, nil
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.loaded {
		return b.Reader.Read(p)
	}
	n, err := b.client.Read(p)
	if err != nil && err != io.EOF {
		b.broken = true
	}
	return n, err
}

func (b *requestBody) Close() error { return b.client.Close() }
