package retry

import (
	"context"
	"errors"
	"net/http"
)

// retriedKey is the key of the context value that marks a response: see markRetried.
type retriedKey struct{}

// markRetried marks a response so that another Transport, whose Base is this one, does
// not retry it. The mark is a new pointer in the context of resp.Request, since
// RoundTrippers in between usually keep that.
func markRetried(resp *http.Response) {
	req := resp.Request
	resp.Request = req.WithContext(context.WithValue(req.Context(), retriedKey{}, new(byte)))
}

// alreadyRetried reports whether a Transport in Base has marked the response to req. If
// req itself has the same mark, it was made from the request of an earlier response, and
// the response is not marked.
func alreadyRetried(resp *http.Response, req *http.Request) bool {
	if resp.Request == nil {
		return false
	}
	mark := resp.Request.Context().Value(retriedKey{})
	return mark != nil && mark != req.Context().Value(retriedKey{})
}

// fromTransport reports whether err is the error of a Transport.
func fromTransport(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}
