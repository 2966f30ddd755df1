package retry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Do calls f until it succeeds or the policy ends the call, for work that is not one HTTP
// request, such as a transaction or a call through another library. f must be safe to
// call again. The policy applies as in a [Transport], except that Keys, RecordBody and
// HoldHost have no effect. If p is nil, it is the default policy.
//
// An error is retried unless it
//
//   - is [Permanent],
//   - comes from a Transport, which has retried already, or
//   - holds an [*apierror.Error] that is not retryable, or that has a status that is not
//     retried.
//
// The Retry-After of an [*apierror.Error] is obeyed.
//
// If f sends a write through a Transport, the write has a new key in every attempt of Do,
// and may be carried out twice. To give it the same key in all attempts, call Do with a
// context from [WithIdempotencyKey].
//
// If [Policy.AttemptTimeout] is set, each call of f has its own context, which ends after
// that time, or earlier if f returns. If T is [*http.Response] and f returns a response and
// no error, the context ends when the response's body is closed instead. If f returns both
// a response and an error that is retried, Do closes the response's body.
//
// Do returns the last value of f. The error is nil if f succeeded, and an [*Error]
// otherwise.
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
			d.budget.refund("")
			return value, d.finish(ReasonCanceled)
		}
	}
}

// Permanent marks an error as one that [Do] does not retry. The result unwraps to err. It
// is nil if err is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// doing is the state of one call of Do.
type doing struct {
	who      caller
	policy   Policy // with its defaults
	budget   *Budget
	report   *Report // nil without WithReport
	attempts []Attempt
}

func newDoing(ctx context.Context, p *Policy) *doing {
	o := overridesOf(ctx)
	d := &doing{who: caller{ctx: ctx}, policy: p.withDefaults(o.once), report: o.report}
	d.budget = d.policy.Budget
	if d.budget == nil {
		d.budget = &Budget{Tokens: -1}
	}
	return d
}

// withTimeout calls f with a context that ends after timeout. If timeout is 0 or less,
// there is no timeout.
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

// decide returns the reason why there is no further attempt. If there is one, the reason
// is empty, and decide has set a.Delay.
func (d *doing) decide(a *Attempt) Reason {
	refused := false
	if e, ok := errors.AsType[*apierror.Error](a.Err); ok && e != nil {
		a.Status = e.Status()
		a.RetryAfter = e.RetryAfter()
		a.describe(e)
		refused = !e.Retryable() && retryhint.Retryable(e.Status())
	}
	_, permanent := errors.AsType[*permanentError](a.Err)
	switch {
	case a.Err == nil:
		d.budget.succeeded("")
		return ReasonSucceeded
	case d.who.err() != nil:
		return ReasonCanceled
	case permanent, refused:
		return ReasonToldNotTo
	case fromTransport(a.Err):
		return ReasonAlreadyRetried
	case !d.policy.retryable(Failure{Attempt: *a}):
		return ReasonNotRetryable
	}
	delay, reason := d.policy.schedule(d.who, a.Number, a.RetryAfter)
	if reason != "" {
		return reason
	}
	if !d.budget.take("") {
		return ReasonBudgetExhausted
	}
	a.Delay = delay
	return ""
}

// finish returns the error of the call, or nil if it succeeded.
func (d *doing) finish(reason Reason) error {
	if d.report != nil {
		d.report.set(d.attempts, reason)
	}
	switch reason {
	case ReasonSucceeded:
		return nil
	case ReasonCanceled:
		return newError(nil, d.attempts, reason, d.who.err(), context.Cause(d.who.ctx))
	default:
		return newError(nil, d.attempts, reason)
	}
}
