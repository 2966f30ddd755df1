package retry

import (
	"errors"
	"io"
	"net/http"
)

// requestBody gives every attempt its own reader of the caller's body. It closes the
// caller's body once.
type requestBody struct {
	req   *http.Request
	taken bool // the base transport has had the caller's body, and closes it

	record *recorder     // nil if nothing is recorded
	ready  io.ReadCloser // for the next attempt, from GetBody
	sent   io.ReadCloser // of the current attempt, if reading it can fail
	fault  *fault        // of the current attempt's bodies
}

func newRequestBody(req *http.Request, record int64) requestBody {
	b := requestBody{req: req}
	if b.exists() && req.GetBody == nil && record > 0 {
		b.fault = new(fault)
		b.record = newRecorder(b.watch(req.Body), record)
	}
	return b
}

func (b *requestBody) exists() bool { return b.req.Body != nil && b.req.Body != http.NoBody }

// replayable reports whether another attempt can send the whole body.
func (b *requestBody) replayable() bool {
	return !b.exists() || b.req.GetBody != nil || b.record != nil && b.record.replayable()
}

// prepare makes the body of another attempt. It is called while the last response can
// still be returned to the caller. If there is no body for another attempt, it returns
// the reason, and GetBody's error if there is one.
func (b *requestBody) prepare() (Reason, error) {
	switch {
	case !b.exists():
		return "", nil
	case b.record != nil:
		// A base transport that answered early may still read, and exceed the limit after
		// replayable was called.
		if !b.record.rewind() {
			return ReasonBodyNotReplayable, nil
		}
		return "", nil
	}
	body, err := getBody(b.req)
	if err != nil {
		return ReasonBodyFailed, err
	}
	b.ready = body
	return "", nil
}

// getBody calls the request's GetBody.
func getBody(req *http.Request) (io.ReadCloser, error) {
	body, err := req.GetBody()
	if err == nil && body == nil {
		err = errors.New("retry: the request's GetBody returned neither a body nor an error")
	}
	return body, err
}

// next returns the body of the next attempt. It is nil if the attempt can use the caller's
// request as it is.
func (b *requestBody) next() io.ReadCloser {
	first, body := !b.taken, b.ready
	b.taken, b.ready, b.sent = true, nil, nil
	switch {
	case !b.exists():
		return nil
	case b.record != nil:
		b.sent = b.record.open()
		return b.sent
	case first:
		body = b.req.Body
	}
	memory := inMemory(body, b.req.ContentLength)
	if first && memory {
		return nil
	}
	b.fault = new(fault)
	if memory {
		return body
	}
	b.sent = b.watch(body)
	return b.sent
}

// getBody returns the GetBody of the attempt's request. net/http itself sends a request
// with a key again if the connection that it reused turns out to be dead.
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

// err returns the error of the attempt's reader or GetBody. Another attempt would meet
// the same error.
func (b *requestBody) err() error {
	if b.fault == nil {
		return nil
	}
	return b.fault.err()
}

// abandon closes the reader of an attempt whose base transport did not return.
func (b *requestBody) abandon() {
	if b.sent != nil {
		b.sent.Close()
	}
}

// end closes the bodies that were not given to an attempt. No attempt follows.
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
