package retry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/mediatype"
	"github.com/seawall-go/seawall/internal/plain"
)

// What is read of a response that is thrown away: enough to know the error and to leave the
// connection to the next attempt, but not so much that a body without an end could hold that up.
const (
	drainBytes = 64 << 10
	drainTime  = 50 * time.Millisecond
)

// discard closes a body that nobody is going to get. Before, it reads what comes within the
// bounds of a drain, and returns that, or nil if there is more. A body that ignores its Close
// may be read on after that, by a goroutine that ends with it.
func discard(who caller, body io.ReadCloser) []byte {
	defer body.Close()
	if body == http.NoBody {
		return nil
	}
	read := make(chan []byte, 1)
	go func() {
		defer close(read)
		defer func() { _ = recover() }() // a body that panics has failed, like any other
		head, err := io.ReadAll(io.LimitReader(body, drainBytes))
		if err == nil {
			read <- head
		}
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case head := <-read:
		return head
	case <-timer.C:
	case <-who.ctx.Done():
	case <-who.cancel:
	}
	return nil
}

// peek reads the error in a response that may still be handed back, and leaves the body whole. It
// reads what is in JSON and has announced its length: that does not stream, so nothing is delayed
// that the caller could have had.
func peek(resp *http.Response) []byte {
	if resp.ContentLength <= 0 || resp.ContentLength > drainBytes || !isJSON(resp.Header) {
		return nil
	}
	head := make([]byte, resp.ContentLength)
	n, err := io.ReadFull(resp.Body, head)
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failed{err}
	}
	resp.Body = &peekedBody{io.MultiReader(bytes.NewReader(head[:n]), rest), resp.Body}
	return head[:n]
}

// peekedBody is a body with what was read of it in front.
type peekedBody struct {
	io.Reader
	io.Closer
}

// failed is a reader that has failed.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// parseError returns the error of a response of 400 or above, of which only head was read.
func parseError(status int, h http.Header, head []byte, req *http.Request) *apierror.Error {
	if !isJSON(h) {
		head = nil
	}
	resp := http.Response{
		StatusCode: status, Header: h, Request: req,
		Body: io.NopCloser(bytes.NewReader(head)), ContentLength: int64(len(head)),
	}
	e, _ := errors.AsType[*apierror.Error](apierror.Parse(&resp))
	return e
}

func isJSON(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return mediatype.IsJSON(mediaType)
}

// maxID bounds the request ids and codes that a server chooses.
const maxID = 128

// requestID is the response's, from its header.
func requestID(h http.Header) string {
	if id := h.Get("Request-Id"); id != "" {
		return plain.Text(id, maxID)
	}
	return plain.Text(h.Get("X-Request-Id"), maxID)
}

// gaveUpKey is the key of a context value, a pointer that no other mark has: see markGivenUp.
type gaveUpKey struct{}

// markGivenUp marks a response so that a Transport further out, whose Base is this one, does not
// retry it once more. The mark is in the context of resp.Request, where it survives what stands in
// between.
func markGivenUp(resp *http.Response) {
	req := resp.Request
	resp.Request = req.WithContext(context.WithValue(req.Context(), gaveUpKey{}, new(byte)))
}

// givenUp reports whether a Transport further in has already given up on the response to req. A
// mark that req has too is an older one: req was made of a response that was marked.
func givenUp(resp *http.Response, req *http.Request) bool {
	if resp.Request == nil {
		return false
	}
	mark := resp.Request.Context().Value(gaveUpKey{})
	return mark != nil && mark != req.Context().Value(gaveUpKey{})
}

// isGivenUp reports whether a Transport further in has already given up with err.
func isGivenUp(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

var errNoAnswer = errors.New("retry: the base transport returned neither a response nor an error")

// checked holds a base transport to the contract of http.RoundTripper.
func checked(resp *http.Response, err error) (*http.Response, error) {
	switch {
	case err != nil && resp != nil:
		if resp.Body != nil {
			resp.Body.Close()
		}
		return nil, err
	case err == nil && resp == nil:
		return nil, errNoAnswer
	case resp != nil && resp.Body == nil:
		resp.Body = http.NoBody
	}
	return resp, err
}
