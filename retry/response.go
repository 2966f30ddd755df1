package retry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// What is read of an error's body before it is handed on or thrown away: enough to know its code and to leave the connection
// to the next attempt, not so much that a body without an end could hold that up.
const (
	drainBytes = 64 << 10
	drainTime  = 50 * time.Millisecond
)

// drainedBody is a response's body whose beginning is read ahead, by a goroutine that ends with the body. Whoever reads it
// gets that beginning and then the rest.
type drainedBody struct {
	src  io.ReadCloser
	seen []byte        // what had arrived in time
	done chan struct{} // closed when head and err are there
	head []byte
	err  error // nil: there is more in src
}

func (b *drainedBody) Read(p []byte) (int, error) {
	<-b.done
	switch {
	case len(b.head) > 0:
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	case b.err != nil:
		return 0, b.err
	default:
		return b.src.Read(p)
	}
}

// Close ends a read that still goes on, by closing what it reads from.
func (b *drainedBody) Close() error { return b.src.Close() }

// drain reads ahead, once, and returns what there was within the bounds. When it returns nil, reading may still go on.
func drain(resp *http.Response) []byte {
	if resp.Body == http.NoBody {
		return nil
	}
	if b, ok := resp.Body.(*drainedBody); ok {
		return b.seen
	}
	b := &drainedBody{src: resp.Body, done: make(chan struct{})}
	resp.Body = b
	go func() {
		defer close(b.done)
		defer func() {
			if p := recover(); p != nil {
				b.err = fmt.Errorf("retry: reading the response panicked: %v", p)
			}
		}()
		b.head, b.err = io.ReadAll(io.LimitReader(b.src, drainBytes))
		if b.err == nil && len(b.head) < drainBytes {
			b.err = io.EOF
		}
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-b.done:
		b.seen = b.head
	case <-timer.C:
	}
	return b.seen
}

// parseError reads the error in a response of 400 or above, and leaves the body readable.
func parseError(resp *http.Response, req *http.Request) *apierror.Error {
	var head []byte
	if isJSON(resp.Header) {
		head = drain(resp)
	}
	copied := *resp
	copied.Request, copied.Body, copied.ContentLength = req, io.NopCloser(bytes.NewReader(head)), int64(len(head))
	e, _ := errors.AsType[*apierror.Error](apierror.Parse(&copied))
	return e
}

func isJSON(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// requestID is the response's, from its header.
func requestID(h http.Header) string {
	if id := h.Get("Request-Id"); id != "" {
		return id
	}
	return h.Get("X-Request-Id")
}
