package retry

import (
	"context"
	"errors"
	"net/http"
)

// gaveUpKey is the key of the context value that marks a response: see markGivenUp.
type gaveUpKey struct{}

// markGivenUp marks a response so that another Transport, whose Base is this one, does not
// retry it. The mark is a new pointer in the context of resp.Request, where it survives
// RoundTrippers in between.
func markGivenUp(resp *http.Response) {
	req := resp.Request
	resp.Request = req.WithContext(context.WithValue(req.Context(), gaveUpKey{}, new(byte)))
}

// givenUp reports whether a Transport further in has marked the response to req. If req has the
// same mark, it was made of the request of an earlier response, and the mark means nothing.
func givenUp(resp *http.Response, req *http.Request) bool {
	if resp.Request == nil {
		return false
	}
	mark := resp.Request.Context().Value(gaveUpKey{})
	return mark != nil && mark != req.Context().Value(gaveUpKey{})
}

// isGivenUp reports whether err is the error of a Transport further in.
func isGivenUp(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}
