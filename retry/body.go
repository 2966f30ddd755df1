package retry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
)

// requestBody gives every attempt its own reader of the caller's body, and closes the caller's
// once. What reading fails with is the request's fault, not the host's.
type requestBody struct {
	req   *http.Request
	taken bool // the base transport has had the caller's body, and closes it

	record *recorder     // nil without a recording
	ready  io.ReadCloser // what GetBody gave for the next attempt
	sent   io.ReadCloser // what the current attempt reads, if it can fail
	fault  *fault        // of the current attempt's readers, or of GetBody
}

// fault is the first error of the readers that one attempt has had, nil if there is none. The base
// transport may still be reading when it returns.
type fault struct{ atomic.Pointer[error] }

func (f *fault) set(err error) { f.CompareAndSwap(nil, &err) }

func newRequestBody(req *http.Request, record int64) requestBody {
	b := requestBody{req: req}
	if b.exists() && req.GetBody == nil && record > 0 {
		b.fault = new(fault)
		b.record = &recorder{src: b.watch(req.Body), limit: record, reading: make(chan struct{}, 1)}
	}
	return b
}

func (b *requestBody) exists() bool { return b.req.Body != nil && b.req.Body != http.NoBody }

// replayable reports whether another attempt can have the whole body.
func (b *requestBody) replayable() bool {
	return !b.exists() || b.req.GetBody != nil || b.record != nil && b.record.replayable()
}

// prepare makes the body of another attempt, while the response of the last one can still be handed
// back. If it cannot, it returns the reason, and GetBody's error.
func (b *requestBody) prepare() (Reason, error) {
	switch {
	case !b.exists():
	case b.record != nil:
		// A base that answers early may have read on while this was decided.
		if !b.record.rewind() {
			return ReasonBodyNotReplayable, nil
		}
	default:
		body, err := getBody(b.req)
		if err != nil {
			return ReasonBodyFailed, err
		}
		b.ready = body
	}
	return "", nil
}

// getBody is the request's GetBody, held to its contract.
func getBody(req *http.Request) (io.ReadCloser, error) {
	body, err := req.GetBody()
	if err == nil && body == nil {
		err = errors.New("retry: the request's GetBody returned neither a body nor an error")
	}
	return body, err
}

// next returns the body of the next attempt. It is nil if the request can go out with the one that
// it has.
func (b *requestBody) next() io.ReadCloser {
	first, body := !b.taken, b.ready
	b.taken, b.ready, b.sent = true, nil, nil
	switch {
	case !b.exists():
		return nil
	case b.record != nil:
		b.sent = b.record.open()
		return b.sent
	case first && b.req.GetBody != nil && inMemory(b.req.Body, b.req.ContentLength):
		return nil
	case first:
		body = b.req.Body
	}
	b.fault = new(fault)
	if !inMemory(body, b.req.ContentLength) {
		body = b.watch(body)
		b.sent = body
	}
	return body
}

// getBody is GetBody for the attempt's request: net/http itself sends a keyed request again if its
// connection turns out to be dead.
func (b *requestBody) getBody() func() (io.ReadCloser, error) {
	switch {
	case b.record != nil:
		return b.record.reopen
	case b.req.GetBody == nil:
		return nil
	}
	req, fault := b.req, b.fault
	return func() (io.ReadCloser, error) {
		body, err := getBody(req)
		if err != nil {
			fault.set(err)
			return nil, err
		}
		return &watchedBody{ReadCloser: body, fault: fault, length: req.ContentLength}, nil
	}
}

func (b *requestBody) watch(body io.ReadCloser) io.ReadCloser {
	return &watchedBody{ReadCloser: body, fault: b.fault, length: b.req.ContentLength}
}

// err returns what the attempt's reader, or GetBody, failed with. No further attempt would fare
// better.
func (b *requestBody) err() error {
	if b.fault == nil {
		return nil
	}
	if err := b.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// abandon closes the reader of an attempt whose base did not return, but panicked or called
// runtime.Goexit.
func (b *requestBody) abandon() {
	if b.sent != nil {
		b.sent.Close()
	}
}

// end says that there is no further attempt. It closes what no attempt has had.
func (b *requestBody) end() {
	if b.ready != nil {
		b.ready.Close()
	}
	switch {
	case !b.exists():
	case b.record != nil:
		b.record.end()
	case !b.taken:
		b.taken = true
		b.req.Body.Close()
	}
}

// watchedBody is a body that is closed once, however often it is told to, and reports what makes it
// impossible to send: an error of its reader, or another length than the request's.
type watchedBody struct {
	io.ReadCloser
	fault  *fault
	length int64 // of the request; 0 and -1 are unknown
	n      int64
	closed atomic.Bool
}

func (w *watchedBody) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.n += int64(n)
	switch {
	case w.closed.Load():
		// What a closed reader says is nobody's fault.
	case err != nil && err != io.EOF:
		w.fault.set(err)
	case w.length > 0 && (w.n > w.length || err == io.EOF && w.n < w.length):
		w.fault.set(fmt.Errorf("retry: the request's body does not have its ContentLength of %d", w.length))
	}
	return n, err
}

func (w *watchedBody) Close() error {
	if w.closed.Swap(true) {
		return nil
	}
	return w.ReadCloser.Close()
}

// inMemory reports whether a body is what http.NewRequest makes of bytes or a string, and has the
// length that the request says. Reading it cannot fail. net/http sends such a body together with
// the header, in one write, if nothing is wrapped around it.
func inMemory(body io.ReadCloser, length int64) bool {
	t := reflect.TypeOf(body)
	if t != reflect.TypeOf(io.NopCloser(nil)) && t != reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{})) {
		return false
	}
	var left int
	switch r := reflect.ValueOf(body).Field(0).Interface().(type) {
	case *bytes.Buffer:
		left = r.Len()
	case *bytes.Reader:
		left = r.Len()
	case *strings.Reader:
		left = r.Len()
	default:
		return false
	}
	return length == int64(left) || length <= 0
}
