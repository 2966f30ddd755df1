package retry

import (
	"context"
	"errors"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Do calls f until it succeeds or the policy says that it is enough, for work that is not one HTTP request: a transaction, a
// call through another library. f must be safe to repeat. The policy's meaning is that of [Transport], with what has no sense
// here left out: keys, bodies, holding hosts.
//
// An error is repeated unless it is [Permanent], comes from a Transport (which has repeated already), or holds an
// [*apierror.Error] of a status that is not retried, or that says not to be; the Retry-After of such an error is obeyed.
// [Policy.AttemptTimeout] bounds each call of f through the context that f gets, which ends when f returns.
//
// The error of Do is an [*Error]; the value that goes with it is what f returned last.
func Do[T any](ctx context.Context, p *Policy, f func(context.Context) (T, error)) (T, error) {
	d := newDoing(ctx, p)
	var value T
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return value, d.finish(Canceled)
		}
		a := Attempt{Number: n}
		start := time.Now()
		value, a.Err = withTimeout(ctx, d.policy.AttemptTimeout, f)
		a.Elapsed = time.Since(start)
		reason := d.decide(&a)
		d.attempts = remember(d.attempts, a)
		if reason != "" {
			return value, d.finish(reason)
		}
		if sleep(ctx, a.Delay) != nil {
			d.refund()
			return value, d.finish(Canceled)
		}
	}
}

// Permanent marks an error, for [Do], as one that a repetition does not change. It unwraps to err, and is nil for nil.
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
	ctx      context.Context
	policy   Policy
	report   *Report
	attempts []Attempt
}

func newDoing(ctx context.Context, p *Policy) *doing {
	o := overridesOf(ctx)
	return &doing{ctx: ctx, policy: p.withDefaults(o.once), report: o.report}
}

// withTimeout calls f with a context that ends after timeout, if there is one.
func withTimeout[T any](ctx context.Context, timeout time.Duration, f func(context.Context) (T, error)) (T, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, &timeoutError{timeout})
		defer cancel()
	}
	return f(ctx)
}

func (d *doing) decide(a *Attempt) Reason {
	var asked time.Duration
	vain := false
	if e, ok := errors.AsType[*apierror.Error](a.Err); ok && e != nil {
		a.Status, a.Code, a.RequestID = e.Status(), e.Code(), e.RequestID()
		asked, vain = e.RetryAfter(), !e.Retryable() && retryhint.Retryable(e.Status())
	}
	_, permanent := errors.AsType[*permanentError](a.Err)
	_, repeated := errors.AsType[*Error](a.Err)
	switch {
	case a.Err == nil:
		if d.policy.Budget != nil {
			d.policy.Budget.succeeded(host{})
		}
		return Succeeded
	case d.ctx.Err() != nil:
		return Canceled
	case permanent, vain:
		return ToldNotTo
	case repeated, !d.policy.worthRepeating(*a):
		return NotRetryable
	}
	delay, source, reason := d.policy.schedule(d.ctx, a.Number, asked)
	if reason != "" {
		return reason
	}
	if d.policy.Budget != nil && !d.policy.Budget.take(host{}) {
		return BudgetExhausted
	}
	a.Delay, a.Source = delay, source
	return ""
}

func (d *doing) refund() {
	if d.policy.Budget != nil {
		d.policy.Budget.refund(host{})
	}
}

// finish returns the error of the whole, nil for a success.
func (d *doing) finish(reason Reason) error {
	d.report.set(d.attempts, reason, "")
	if reason == Succeeded {
		return nil
	}
	var ends []error
	if reason == Canceled {
		ends = []error{d.ctx.Err(), context.Cause(d.ctx)}
	}
	return newError(nil, d.attempts, reason, ends...)
}
