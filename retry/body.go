package retry

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"sync/atomic"
)

// requestBody gives every attempt a reader of its own of the caller's body, and sees that the caller's is closed, once.
type requestBody struct {
	req    *http.Request
	taken  bool        // the base transport has had the caller's body, and closes it
	source *recorder   // nil without a recording
	sent   *onceCloser // the current attempt's reader, where there is one to watch
	failed error       // of GetBody
}

func newRequestBody(req *http.Request, record int64) requestBody {
	b := requestBody{req: req}
	if b.exists() && req.GetBody == nil && record > 0 {
		b.source = &recorder{src: req.Body, limit: record, reading: make(chan struct{}, 1)}
	}
	return b
}

func (b *requestBody) exists() bool { return b.req.Body != nil && b.req.Body != http.NoBody }

// replayable tells whether another attempt can have the whole body.
func (b *requestBody) replayable() bool {
	return !b.exists() || b.req.GetBody != nil || b.source != nil && b.source.replayable()
}

// rewind ends what the last attempt still reads, before another one. It is false if the body turned out not to be replayable
// after all: a base that answers early may read on.
func (b *requestBody) rewind() bool { return b.source == nil || b.source.rewind() }

// abandon closes the reader of an attempt whose base did not return, by a panic or by runtime.Goexit.
func (b *requestBody) abandon() {
	switch {
	case b.source != nil:
		b.source.abandon()
	case b.sent != nil:
		b.sent.Close()
	}
}

// next returns the body for the next attempt, nil where the request can go out with the one that it has.
func (b *requestBody) next() (io.ReadCloser, error) {
	first := !b.taken
	b.taken = true
	switch {
	case !b.exists():
		return nil, nil
	case b.source != nil:
		return b.source.open(), nil
	case first && b.req.GetBody != nil && isNopCloser(b.req.Body):
		return nil, nil // net/http sends a body that it knows to be in memory together with the header, in one write
	case first:
		b.sent = &onceCloser{ReadCloser: b.req.Body}
	default:
		body, err := b.req.GetBody()
		if err == nil && body == nil {
			err = errors.New("retry: the request's GetBody returned neither a body nor an error")
		}
		if err != nil {
			b.failed = err
			return nil, err
		}
		b.sent = &onceCloser{ReadCloser: body}
	}
	return b.sent, nil
}

// getBody is GetBody for the attempt's request: net/http itself repeats a keyed request whose connection turned out to be dead.
func (b *requestBody) getBody() func() (io.ReadCloser, error) {
	if b.source != nil {
		return b.source.reopen
	}
	return b.req.GetBody
}

// err is what the caller's reader, or GetBody, failed with: no further attempt would fare better.
func (b *requestBody) err() error {
	switch {
	case b.failed != nil:
		return b.failed
	case b.source != nil:
		return b.source.failed()
	case b.sent != nil:
		if err := b.sent.err.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// end says that there is no further attempt. The caller's body is closed now if no attempt had it.
func (b *requestBody) end() {
	switch {
	case !b.exists():
	case b.source != nil:
		b.source.end()
	case !b.taken:
		b.taken = true
		b.req.Body.Close()
	}
}

// onceCloser is a body that is closed once, however often it is told to, and remembers what reading failed with.
type onceCloser struct {
	io.ReadCloser
	closed atomic.Bool
	err    atomic.Pointer[error]
}

func (c *onceCloser) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !c.closed.Load() {
		c.err.Store(&err)
	}
	return n, err
}

func (c *onceCloser) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.ReadCloser.Close()
}

// isNopCloser tells whether a body is what http.NewRequest makes of an in-memory reader.
func isNopCloser(body io.ReadCloser) bool {
	t := reflect.TypeOf(body)
	return t == reflect.TypeOf(io.NopCloser(nil)) || t == reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
}
