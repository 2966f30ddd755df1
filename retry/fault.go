package retry

import (
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/seawall-go/seawall/internal/retryhint"
)

// fault returns the reason why something other than the host caused or contributed to an
// error of the base transport. It is empty if the host may have caused the error.
func (c *call) fault(err error) Reason {
	switch {
	case c.who.err() != nil:
		return ReasonCanceled
	case c.body.err() != nil:
		return ReasonBodyFailed
	case fromTransport(err):
		return ReasonAlreadyRetried
	case !isFieldValue(c.key.add), !sendable(c.req, err):
		return ReasonInvalidRequest
	default:
		return ""
	}
}

// health returns what an attempt says about the host.
func health(a Attempt, fault Reason) outcome {
	switch {
	case a.Status == http.StatusTooManyRequests, blameless(fault, a.Err):
		return neutral
	case a.Err != nil, retryhint.Retryable(a.Status):
		return failure
	case a.Status >= 400:
		return answered
	default:
		return success
	}
}

// blameless reports whether an error with this fault says nothing about the host. If the
// error comes from a Transport in Base, its Reason and its Attempts decide: the host may
// have failed there.
func blameless(fault Reason, err error) bool {
	if fault != ReasonAlreadyRetried {
		return fault != ""
	}
	inner, _ := errors.AsType[*Error](err)
	switch inner.Reason {
	case ReasonCanceled, ReasonBodyFailed, ReasonInvalidRequest:
		return true
	default:
		return len(inner.Attempts) == 0
	}
}

// neverSent reports whether err says that no connection was made. It returns false for a
// *url.Error: that comes from an http.Client, which may have sent the request and then
// failed to follow a redirect.
func neverSent(err error) bool {
	op, dialed := errors.AsType[*net.OpError](err)
	_, redirected := errors.AsType[*url.Error](err)
	return dialed && op.Op == "dial" && !redirected
}
