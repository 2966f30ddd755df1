package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// item is the charge of one rule for a request, and the limiter's decision about it.
type item struct {
	rule     *rule
	charge   Charge
	decision Decision
}

// admit decides about a request, and answers it unless it may go on. It returns what the
// rules have charged, and the limiter that was charged: nil if none was.
func (m *middleware) admit(w http.ResponseWriter, r *http.Request) (items []item, by Limiter, ok bool) {
	items, failed, err := m.charges(r)
	if err != nil {
		return nil, nil, m.refuse(w, r, failed, err)
	}
	if len(items) == 0 {
		return nil, nil, true
	}
	by, err = m.take(r.Context(), items)
	if by == nil {
		return nil, nil, m.undecided(w, r, items, err)
	}
	for i := range items {
		items[i].decision.complete(&items[i].charge)
	}
	denial, outcome := longestWait(items), OutcomeAllowed
	if denial != nil {
		outcome, by = OutcomeDenied, nil
	}
	shown := !m.Shadow && (m.NoFields == nil || !m.NoFields(r))
	if shown {
		setFields(w, items)
		if m.LegacyHeaders {
			setLegacy(w, items, denial)
		}
	}
	m.observe(r, items, outcome, err)
	if denial == nil || m.Shadow {
		return items, by, true
	}
	m.deny(w, r, items, denial, shown)
	return nil, nil, false
}

// charges returns the charges of the rules that apply to the request. After an error, it
// returns the rule that failed.
func (m *middleware) charges(r *http.Request) (items []item, failed *rule, err error) {
	items = make([]item, 0, len(m.rules))
	for _, ru := range m.rules {
		charge, applies, err := ru.charge(r)
		if err != nil {
			return nil, ru, err
		}
		if applies {
			items = append(items, item{rule: ru, charge: charge})
		}
	}
	return items, nil, nil
}

// take asks the limiter. If that fails and OnFailure is FailLocal, it asks the local
// limiter. It returns the limiter that decided, or nil if none did, and the error of the
// first limiter.
func (m *middleware) take(ctx context.Context, items []item) (by Limiter, err error) {
	err = takeFrom(ctx, m.limiter, items)
	if err == nil {
		m.logSuccess(ctx)
		return m.limiter, nil
	}
	m.logFailure(ctx, err)
	if m.local == nil || ctx.Err() != nil || errors.Is(err, ErrFull) {
		return nil, err
	}
	if takeFrom(ctx, m.local, items) != nil {
		return nil, err
	}
	return m.local, err
}

func takeFrom(ctx context.Context, l Limiter, items []item) error {
	if len(items) == 1 {
		d, err := l.Take(ctx, items[0].charge)
		if err == nil {
			items[0].decision = d
		}
		return err
	}
	charges, decisions := make([]Charge, len(items)), make([]Decision, len(items))
	for i := range items {
		charges[i] = items[i].charge
	}
	if err := l.(MultiLimiter).TakeAll(ctx, charges, decisions); err != nil { // newMiddleware has checked the type
		return err
	}
	for i := range items {
		items[i].decision = decisions[i]
	}
	return nil
}

// longestWait returns the item to answer a denied request with. Of the items that deny
// the request, it is the first one with the longest wait. A denial without a RetryAfter
// never ends, so it counts as the longest. The result is nil if all items allow the
// request.
func longestWait(items []item) *item {
	var longest *item
	for i := range items {
		it := &items[i]
		if it.decision.Allowed {
			continue
		}
		if it.decision.RetryAfter == 0 {
			return it
		}
		if longest == nil || it.decision.RetryAfter > longest.decision.RetryAfter {
			longest = it
		}
	}
	return longest
}

// deny answers a request that is over a limit.
func (m *middleware) deny(w http.ResponseWriter, r *http.Request, items []item, denial *item, shown bool) {
	d := denial.decision
	if m.RetryAfterMs && d.RetryAfter > 0 {
		setRetryAfterMs(w.Header(), &denial.charge, &d)
	}
	if m.Deny != nil {
		if d.RetryAfter > 0 {
			w.Header().Set("Retry-After", retryhint.FormatAfter(d.RetryAfter))
		}
		m.Deny(w, r, denial.rule.Name, d)
		return
	}
	e := unnamed
	if shown {
		e = refusalOf(items)
	}
	if d.RetryAfter > 0 {
		e = e.WithRetryAfter(d.RetryAfter)
	} else {
		e = e.WithNotRetryable()
	}
	apierror.Write(w, r, e)
}

// refuse answers a request that a rule could not charge, and reports whether it may go on.
func (m *middleware) refuse(w http.ResponseWriter, r *http.Request, failed *rule, err error) (ok bool) {
	if errors.Is(err, errNoPrincipal) && m.noPrincipal.CompareAndSwap(false, true) {
		m.logger().LogAttrs(r.Context(), slog.LevelWarn, "ratelimit: a request has no key", errorAttr(err))
	}
	outcome, err := keyError(err)
	if m.Observe != nil {
		m.Observe(r.Context(), Event{Rule: failed.Name, Outcome: outcome, Shadow: m.Shadow, Err: err})
	}
	if !m.Shadow {
		apierror.Write(w, r, err)
	}
	return m.Shadow
}

// undecided answers a request that no limiter has decided about, and reports whether it
// may go on.
func (m *middleware) undecided(w http.ResponseWriter, r *http.Request, items []item, err error) (ok bool) {
	if m.OnFailure == FailOpen && r.Context().Err() == nil && !errors.Is(err, ErrFull) {
		m.observe(r, items, OutcomeBypassed, err)
		return true
	}
	m.observe(r, items, OutcomeFailed, err)
	if !m.Shadow {
		apierror.Write(w, r, failure(r.Context(), err))
	}
	return m.Shadow
}

// failure returns the answer to a request that nothing has decided about. err is the error
// of the back end.
func failure(ctx context.Context, err error) error {
	switch ended := ctx.Err(); {
	case errors.Is(ended, context.DeadlineExceeded):
		return apierror.CodeTimeout.New() // without the cause, which would be logged for each request
	case ended != nil:
		return ended
	default:
		return apierror.ServiceUnavailable(time.Second).WithCause(reqstate.Recorded(err.Error()))
	}
}

func (m *middleware) observe(r *http.Request, items []item, outcome Outcome, err error) {
	if m.Observe == nil {
		return
	}
	for i := range items {
		m.Observe(r.Context(), Event{
			Rule:     items[i].rule.Name,
			Outcome:  outcome,
			Decision: items[i].decision,
			Shadow:   m.Shadow && (outcome == OutcomeDenied || outcome == OutcomeFailed),
			Err:      err,
		})
	}
}

// errorAttr returns the attribute of an error in a log record, in 512 bytes at most.
func errorAttr(err error) slog.Attr {
	return slog.String("error", plain.Text(plain.ErrorText(err), 512))
}
