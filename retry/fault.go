package retry

import (
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/seawall-go/seawall/internal/retryhint"
)

// fault returns why an error of the base transport is not the host's fault, or not that
// alone. It is empty if it may be the host's.
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

// blameless reports whether a fault says nothing about the host. A Transport further in
// knows more: what ended its call, and whether it sent anything.
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

// neverSent reports whether err says that no connection was made. A *url.Error comes from
// a client that may have sent the request before it followed a redirect.
func neverSent(err error) bool {
	op, dialed := errors.AsType[*net.OpError](err)
	_, redirected := errors.AsType[*url.Error](err)
	return dialed && op.Op == "dial" && !redirected
}
