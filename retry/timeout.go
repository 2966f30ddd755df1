package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// timeoutError is the error of an attempt that AttemptTimeout ended. It is a net.Error.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string   { return fmt.Sprintf("retry: no response within %v", e.after) }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }

// respond calls f with a context that ends after timeout. If f returns a response before
// that, the context ends when the response's body is closed instead. If timeout is 0 or
// less, there is no timeout.
func respond(who caller, timeout time.Duration, f func(context.Context) (*http.Response, error)) (resp *http.Response, err error) {
	if timeout <= 0 {
		return f(who.ctx)
	}
	ctx, cancel := context.WithCancelCause(who.ctx)
	late := &timeoutError{timeout}
	timer := time.AfterFunc(timeout, func() { cancel(late) })
	defer func() { // f may panic
		inTime := timer.Stop()
		hasBody := resp != nil && resp.Body != nil
		if inTime && hasBody && err == nil {
			resp.Body = withCancel(resp.Body, cancel)
			return
		}
		cancel(nil)
		if inTime {
			return
		}
		if hasBody {
			resp.Body.Close() // it cannot be read after the end of its context
		}
		resp = nil
		if _, permanent := errors.AsType[*permanentError](err); !permanent {
			err = cmp.Or[error](who.err(), late)
		}
	}()
	return f(ctx)
}

// cancelingBody ends an attempt's context when it is closed.
type cancelingBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b cancelingBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// cancelingConn is a cancelingBody for a 101 response, whose body is the connection.
type cancelingConn struct {
	cancelingBody
	io.Writer
}

// CloseWrite closes the writing side of the connection, if the connection has that
// method. The body of a 101 response of net/http has it.
func (c cancelingConn) CloseWrite() error {
	if half, ok := c.ReadCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return fmt.Errorf("retry: CloseWrite: %w", http.ErrNotSupported)
}

func withCancel(body io.ReadCloser, cancel context.CancelCauseFunc) io.ReadCloser {
	b := cancelingBody{body, cancel}
	if w, ok := body.(io.Writer); ok {
		return cancelingConn{b, w}
	}
	return b
}
