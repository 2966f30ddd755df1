package retry

import (
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// inspect adds to a the properties of the response that the decision needs. It returns
// the body if it has read it, which it does only if the policy needs the error's code.
func (c *call) inspect(a *Attempt) (body []byte) {
	if c.resp == nil {
		return nil
	}
	a.RetryAfter, _ = retryhint.After(c.resp.Header, c.ended)
	if c.policy.Retryable != nil || c.policy.HoldHost && a.Status == http.StatusTooManyRequests {
		body = peek(c.resp)
		a.describeResponse(c.resp, body, c.req)
	}
	return body
}

// decide returns the reason why there is no further attempt, and an error if one ended
// the call in addition to the attempt's own. If there is a further attempt, the reason is
// empty, and decide has set a.Delay, taken a token from the budget and prepared the body.
func (c *call) decide(a *Attempt, fault Reason, p permit) (Reason, error) {
	switch fault {
	case "":
	case ReasonBodyFailed:
		return fault, c.body.err()
	default:
		return fault, c.who.err()
	}
	if reason := c.refuse(a); reason != "" {
		return reason, nil
	}
	delay, reason := c.policy.schedule(c.who, a.Number, a.RetryAfter)
	if reason != "" {
		return reason, nil
	}
	if refused := p.refusal(c.ended.Add(delay)); refused != nil {
		return ReasonCircuitOpen, c.named(refused)
	}
	if !c.budget.take(c.group) {
		return ReasonBudgetExhausted, nil
	}
	c.token = true
	if reason, err := c.body.prepare(); reason != "" {
		return reason, err
	}
	a.Delay = delay
	return "", nil
}

// refuse returns the reason why the request must not be sent again, however long the
// wait. It is empty if the request may be sent again.
func (c *call) refuse(a *Attempt) Reason {
	failure := Failure{Attempt: *a, Method: methodOf(c.req), URL: c.req.URL}
	if c.resp != nil {
		failure.Header = c.resp.Header
	}
	switch {
	case c.resp != nil && alreadyRetried(c.resp, c.req):
		return ReasonAlreadyRetried
	case retryhint.Refused(failure.Header):
		return ReasonToldNotTo
	case !c.policy.retryable(failure):
		return ReasonNotRetryable
	case !c.key.idempotent && (c.resp != nil || c.connected.Load() || !neverSent(a.Err)):
		return ReasonNotIdempotent
	case !c.body.replayable():
		return ReasonBodyNotReplayable
	default:
		return ""
	}
}

// retryable asks the policy's rule.
func (p *Policy) retryable(f Failure) bool {
	if p.Retryable != nil {
		return p.Retryable(f)
	}
	return DefaultRetryable(f)
}

// schedule returns how long to wait after attempt n, or the reason why there is no
// further attempt. retryAfter is the wait that the server asked for.
func (p *Policy) schedule(who caller, n int, retryAfter time.Duration) (time.Duration, Reason) {
	if n >= p.MaxAttempts {
		return 0, ReasonAttemptsExhausted
	}
	if retryAfter > p.MaxRetryAfter {
		return 0, ReasonRetryAfterTooLong
	}
	delay := jitter(p.ceiling(n))
	if retryAfter > 0 {
		delay = p.after(retryAfter)
	}
	if who.endsWithin(delay) {
		return 0, ReasonDeadlineTooSoon
	}
	return delay, ""
}

// discard throws away the response in c.resp, since another attempt follows after delay.
// It returns the response's body, as far as it is known. peeked is the body if inspect
// has read it.
//
// The body is read so that another request can use the connection, and because it may
// hold the error's code. It is not read if the deadline leaves no time for that.
func (c *call) discard(delay time.Duration, peeked []byte) []byte {
	resp := c.resp
	if resp == nil {
		return nil
	}
	c.resp = nil
	if c.who.endsWithin(delay + min(drainTime, never-delay)) {
		resp.Body.Close()
		return peeked
	}
	body := drain(c.who, resp.Body)
	if peeked != nil {
		return peeked
	}
	return body
}

// waitForHold waits until the end of a hold that an earlier response has put on requests
// like this one.
func (c *call) waitForHold() error {
	if !c.policy.HoldHost {
		return nil
	}
	d := c.t.holds.wait(c.group, c.req, time.Now())
	if d == 0 {
		return nil
	}
	return c.pause(c.policy.after(d))
}

// hold makes other requests wait too, if the server's wait is not only for this request.
func (c *call) hold(a *Attempt) {
	if !c.policy.HoldHost || a.RetryAfter <= 0 || a.RetryAfter > c.policy.MaxRetryAfter {
		return
	}
	limited := a.Status == http.StatusTooManyRequests && a.Code == apierror.CodeRateLimitExceeded
	if limited || a.Status == http.StatusServiceUnavailable {
		c.t.holds.hold(c.group, c.req, c.ended.Add(a.RetryAfter))
	}
}
