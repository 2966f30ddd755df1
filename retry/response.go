package retry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/mediatype"
	"github.com/seawall-go/seawall/internal/plain"
)

// The limits for reading a response that is discarded. They are large enough to learn the
// error and to reuse the connection, but an endless body must not delay the next attempt.
const (
	drainBytes = 64 << 10
	drainTime  = 50 * time.Millisecond
)

// drain reads a body within the limits and closes it. It returns the content, or nil if
// the body failed or did not end in time. If Close does not stop a read, the read
// continues in its goroutine.
func drain(who caller, body io.ReadCloser) []byte {
	defer body.Close()
	if body == http.NoBody {
		return nil
	}
	read := make(chan []byte, 1)
	go func() {
		defer close(read)
		defer func() { _ = recover() }() // a body that panics has failed, like any other
		content, err := io.ReadAll(io.LimitReader(body, drainBytes))
		if err == nil {
			read <- content
		}
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case content := <-read:
		return content
	case <-timer.C:
	case <-who.ctx.Done():
	case <-who.cancel:
	}
	return nil
}

// peek returns the body of an error response and leaves it readable from the start, since
// the response may be returned to the caller. It reads only JSON of a known length. Such
// a body is not a stream, so the caller loses nothing if peek waits for all of it.
func peek(resp *http.Response) []byte {
	if resp.ContentLength <= 0 || resp.ContentLength > drainBytes || !isJSON(resp.Header) {
		return nil
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, resp.ContentLength))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failedReader{err} // a body may return its error only once, and then io.EOF
	}
	resp.Body = peekedBody{io.MultiReader(bytes.NewReader(content), rest), resp.Body}
	return content
}

// peekedBody is a body whose beginning peek has read.
type peekedBody struct {
	io.Reader
	io.Closer
}

// failedReader is the rest of a body whose read has failed.
type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }

// parseError returns the error in a response with a status of 400 or above. body is the
// part of the response's body that was read.
func parseError(resp *http.Response, body []byte, req *http.Request) *apierror.Error {
	if !isJSON(resp.Header) {
		body = nil
	}
	read := http.Response{
		StatusCode: resp.StatusCode, Header: resp.Header, Request: req,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	e, _ := errors.AsType[*apierror.Error](apierror.Parse(&read))
	return e
}

func isJSON(h http.Header) bool { return mediatype.IsJSON(mediatype.Of(h)) }

// maxID is the longest request id or code, in bytes, that is taken from a server.
const maxID = 128

// requestID returns the request id in a response's header.
func requestID(h http.Header) string {
	if id := h.Get("Request-Id"); id != "" {
		return plain.Text(id, maxID)
	}
	return plain.Text(h.Get("X-Request-Id"), maxID)
}
