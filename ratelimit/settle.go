package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

var (
	errSettled = errors.New("ratelimit: the request was settled before")
	errReset   = fmt.Errorf("ratelimit: the limiter cannot reset a bucket: %w", errors.ErrUnsupported)
)

// Settle says what a request really cost by the rule of that name, which must have Settled set.
// Cost was charged before the handler ran, as an estimate; Settle gives the difference back, or
// takes it. What is taken is never denied: the bucket goes into debt, and admits nobody until that
// has come back. Settle(ctx, rule, 0) gives back everything.
//
//	answer := model.Complete(ctx, prompt)
//	ratelimit.Settle(ctx, "tokens", answer.Usage.Total)
//
// The context is that of the request, or one that was derived from it. It may have ended: the
// request is settled all the same, so that clients who hang up pay for what they got. Settle may be
// called after the handler has returned.
//
// The first Settle or [Reset] of a rule counts for the request; another one returns an error and
// changes nothing. A cost over 1e9 counts as 1e9. Settle does nothing, and returns nil, when the
// rule charged nothing: it was skipped, the limiter had failed, or the caller is [Unlimited]. Other
// errors are a negative cost, a rule that is not known, and trouble of the limiter. After an error
// the estimate stays charged, unless only the limiter's reply was lost.
func Settle(ctx context.Context, rule string, cost int) error {
	if cost < 0 {
		return errCost
	}
	i, err := findItem(ctx, rule)
	if err != nil {
		return err
	}
	return i.settle(ctx, cost)
}

// Reset fills the bucket that the rule of that name charged for this request, as after a successful
// log-in that follows failed ones. The rule must have Settled set. The request itself costs nothing
// then. The error is errors.ErrUnsupported if the limiter is no [Resetter]; all else is as for
// [Settle]. To reset a bucket without a request of its caller, use the [Resetter].
func Reset(ctx context.Context, rule string) error {
	i, err := findItem(ctx, rule)
	if err != nil {
		return err
	}
	return i.reset(ctx)
}

// bill is what a request was charged by the rules that are settled.
type bill struct {
	outer *bill // of the middleware further out
	items []item
}

// item is the charge of one rule.
type item struct {
	rule    *rule
	charge  Charge
	by      Adjuster // nil if nothing was charged
	settled atomic.Bool
}

func (i *item) settle(ctx context.Context, cost int) error {
	if i.settled.Swap(true) {
		return errSettled
	}
	c := i.charge
	c.Cost = min(cost, maxUnits) - c.Cost
	if i.by == nil || c.Cost == 0 {
		return nil
	}
	return i.by.Adjust(context.WithoutCancel(ctx), c)
}

func (i *item) reset(ctx context.Context) error {
	if i.settled.Swap(true) {
		return errSettled
	}
	if i.by == nil {
		return nil
	}
	l, ok := i.by.(Resetter)
	if !ok {
		return errReset
	}
	return l.Reset(context.WithoutCancel(ctx), i.charge.Rule, i.charge.Key)
}

type billKey struct{}

func findItem(ctx context.Context, rule string) (*item, error) {
	b, _ := ctx.Value(billKey{}).(*bill)
	for ; b != nil; b = b.outer {
		for n := range b.items {
			if i := &b.items[n]; i.rule.Name == rule {
				return i, nil
			}
		}
	}
	return nil, fmt.Errorf("ratelimit: the request has no rule %.64q that is Settled", rule)
}

// bill returns what the request was charged by the rules that are settled. If the limiter is nil,
// that is nothing.
func (g *gate) bill(r *http.Request, s *session, by Limiter) *bill {
	b := &bill{items: make([]item, 0, g.settled)}
	b.outer, _ = r.Context().Value(billKey{}).(*bill)
	for n := range g.rules {
		if c := &g.rules[n]; c.Settled || c.CostAfter != nil {
			b.items = append(b.items, item{rule: c})
		}
	}
	if by == nil {
		return b
	}
	for n := range b.items {
		i := &b.items[n]
		for k, c := range s.rules {
			if c == i.rule {
				i.charge, i.by = s.charges[k], by.(Adjuster) // checked in newGate
			}
		}
	}
	return b
}

// serve runs the handler, and settles what it has left open.
func (g *gate) serve(w http.ResponseWriter, r *http.Request, next http.Handler, b *bill) {
	inner := r.WithContext(context.WithValue(r.Context(), billKey{}, b))
	w, sent := track.Wrap(w, r)
	reqstate.Serve(next, w, r, inner)
	for n := range b.items {
		i := &b.items[n]
		if i.rule.CostAfter == nil || i.settled.Load() {
			continue
		}
		cost := i.rule.CostAfter(inner, status(sent))
		if cost < 0 {
			continue
		}
		if err := i.settle(r.Context(), cost); err != nil && !errors.Is(err, errSettled) {
			g.logFailure(context.WithoutCancel(r.Context()), err)
		}
	}
}

// status is what the client got, if the handler has returned.
func status(sent *track.Response) int {
	switch {
	case sent.Status() != 0:
		return sent.Status()
	case sent.Hijacked():
		return http.StatusSwitchingProtocols
	default:
		return http.StatusOK
	}
}
