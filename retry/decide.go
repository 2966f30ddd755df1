package retry

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/seawall-go/seawall/internal/retryhint"
)

// worthRetrying asks the policy's rule.
func (p *Policy) worthRetrying(f Failure) bool {
	if p.Retryable != nil {
		return p.Retryable(f)
	}
	return DefaultRetryable(f)
}

// schedule says how long to wait after attempt n, or why there is no further one. asked is the
// server's Retry-After.
func (p *Policy) schedule(who caller, n int, asked time.Duration) (time.Duration, Reason) {
	if n >= p.MaxAttempts {
		return 0, ReasonAttemptsExhausted
	}
	if asked > p.MaxRetryAfter {
		return 0, ReasonRetryAfterTooLong
	}
	delay := jitter(p.ceiling(n))
	if asked > 0 {
		// Never less than what was asked for, and some more, so that those who were told the
		// same do not all come back at the same time.
		delay = asked + min(jitter(p.BaseDelay), never-asked)
	}
	if who.endsWithin(delay) {
		return 0, ReasonDeadlineTooSoon
	}
	return delay, ""
}

// health is what an attempt says about the host. blameless is an error that is not the host's
// fault.
func health(a *sent, blameless bool) outcome {
	switch {
	case blameless, a.Status == http.StatusTooManyRequests:
		return neutral
	case a.Err != nil, retryhint.Retryable(a.Status):
		return failure
	case a.Status >= 400:
		return answered
	default:
		return success
	}
}

// neverSent reports whether an error says that no connection could be made. A client below that has
// followed a redirect says so with a *url.Error, and had sent the request before.
func neverSent(err error) bool {
	op, dialed := errors.AsType[*net.OpError](err)
	_, redirected := errors.AsType[*url.Error](err)
	return dialed && op.Op == "dial" && !redirected
}
