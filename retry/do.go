package retry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Do calls f until it succeeds or the policy says that it is enough, for work that is not one
// HTTP request: a transaction, a call through another library. f must be safe to retry. The
// policy's meaning is that of [Transport]. What makes no sense here is left out: keys, bodies,
// holding hosts.
//
// An error is retried unless it is [Permanent], comes from a Transport (which has retried
// already), or holds an [*apierror.Error] of a status that is not retried, or that says not to
// be. The Retry-After of such an error is obeyed.
//
// A write in f through a Transport that makes keys gets a new key in each attempt of Do, and may
// happen twice. Give it a key that stays the same, with [WithIdempotencyKey] around Do.
//
// [Policy.AttemptTimeout] bounds each call of f through the context that f gets. That context
// ends when f returns, unless T is [*http.Response] and f returns one without an error: then it
// ends when the response's body is closed, and the timeout holds until f returns. A response
// that f returned with an error that is retried is closed.
//
// The error of Do is an [*Error]. The value that goes with it is what f returned last.
func Do[T any](ctx context.Context, p *Policy, f func(context.Context) (T, error)) (T, error) {
	d := newDoing(ctx, p)
	var value T
	for n := 1; ; n++ {
		if d.who.err() != nil {
			return value, d.finish(ReasonCanceled)
		}
		a := Attempt{Number: n}
		start := time.Now()
		value, a.Err = withTimeout(d.who, d.policy.AttemptTimeout, f)
		a.Elapsed = time.Since(start)
		reason := d.decide(&a)
		d.attempts = remember(d.attempts, a)
		if reason != "" {
			return value, d.finish(reason)
		}
		if resp, ok := any(value).(*http.Response); ok && resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		if d.who.sleep(a.Delay) != nil {
			d.refund()
			return value, d.finish(ReasonCanceled)
		}
	}
}

// Permanent marks an error, for [Do], as one that a retry does not change. It unwraps to err,
// and is nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// doing is one Do.
type doing struct {
	who      caller
	policy   Policy
	report   *Report
	attempts []Attempt
}

func newDoing(ctx context.Context, p *Policy) *doing {
	o := overridesOf(ctx)
	return &doing{who: caller{ctx: ctx}, policy: p.withDefaults(o.once), report: o.report}
}

// withTimeout calls f with a context that ends after timeout, if there is one.
func withTimeout[T any](who caller, timeout time.Duration, f func(context.Context) (T, error)) (T, error) {
	if timeout <= 0 {
		return f(who.ctx)
	}
	if f, ok := any(f).(func(context.Context) (*http.Response, error)); ok {
		resp, err := respond(who, timeout, f)
		return any(resp).(T), err
	}
	ctx, cancel := context.WithTimeoutCause(who.ctx, timeout, &timeoutError{timeout})
	defer cancel()
	return f(ctx)
}

func (d *doing) decide(a *Attempt) Reason {
	pointless := false
	if e, ok := errors.AsType[*apierror.Error](a.Err); ok && e != nil {
		a.Status = e.Status()
		a.name(e)
		a.RetryAfter = e.RetryAfter()
		pointless = !e.Retryable() && retryhint.Retryable(e.Status())
	}
	_, permanent := errors.AsType[*permanentError](a.Err)
	switch {
	case a.Err == nil:
		if d.policy.Budget != nil {
			d.policy.Budget.succeeded("")
		}
		return ReasonSucceeded
	case d.who.err() != nil:
		return ReasonCanceled
	case permanent, pointless:
		return ReasonToldNotTo
	case isGivenUp(a.Err):
		return ReasonAlreadyRetried
	case !d.policy.worthRetrying(Failure{Attempt: *a}):
		return ReasonNotRetryable
	}
	delay, reason := d.policy.schedule(d.who, a.Number, a.RetryAfter)
	if reason != "" {
		return reason
	}
	if d.policy.Budget != nil && !d.policy.Budget.take("") {
		return ReasonBudgetExhausted
	}
	a.Delay = delay
	return ""
}

func (d *doing) refund() {
	if d.policy.Budget != nil {
		d.policy.Budget.refund("")
	}
}

// finish returns the error of the whole, nil for a success.
func (d *doing) finish(reason Reason) error {
	if d.report != nil {
		d.report.set(d.attempts, reason)
	}
	if reason == ReasonSucceeded {
		return nil
	}
	var ends []error
	if reason == ReasonCanceled {
		ends = []error{d.who.err(), context.Cause(d.who.ctx)}
	}
	return newError(nil, d.attempts, reason, ends...)
}
