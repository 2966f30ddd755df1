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
	errSettled = errors.New("ratelimit: the request is already settled")
	errReset   = fmt.Errorf("ratelimit: the limiter cannot reset a bucket: %w", errors.ErrUnsupported)
)

// Settle replaces the estimated cost of a request with its real cost, for the named rule.
// The rule must have Settled or CostAfter set. The estimate, Rule.Cost, was charged
// before the handler ran. Settle gives the difference back, or takes it. Taking is never
// denied: the bucket may go into debt, and then admits nothing until the debt is paid.
// Settle(ctx, rule, 0) gives everything back.
//
//	answer := model.Complete(ctx, prompt)
//	ratelimit.Settle(ctx, "tokens", answer.Usage.Total)
//
// The context must be the context of the request, or derived from it. Settle works even
// if the context has ended because the client has gone, and even after the handler has
// returned.
//
// A cost over 1e9 counts as 1e9. For each request and rule, only the first Settle or
// [Reset] has an effect. Later ones return an error. A negative cost and an unknown rule
// are errors too, and so is a failure of the limiter. Settle returns nil if the rule
// charged nothing, because it did not apply or the limiter had failed before. After an
// error, the estimate stays charged, unless only the limiter's reply was lost.
func Settle(ctx context.Context, rule string, cost int) error {
	if cost < 0 {
		return errCost
	}
	s, err := findSettlement(ctx, rule)
	if err != nil {
		return err
	}
	return s.settle(ctx, cost)
}

// Reset fills the bucket that the named rule has charged for this request, for example
// when a login succeeds after failed ones. The request itself costs nothing then. If the
// limiter is not a [Resetter], the error wraps [errors.ErrUnsupported]. In all other
// respects, Reset works like [Settle]. To reset a bucket outside a request of its caller,
// call the Resetter directly.
func Reset(ctx context.Context, rule string) error {
	s, err := findSettlement(ctx, rule)
	if err != nil {
		return err
	}
	return s.reset(ctx)
}

// settlement is the charge of one rule for a request, which can be settled once.
type settlement struct {
	rule    *rule
	charge  Charge
	by      Adjuster // the limiter that was charged; nil if none was
	settled atomic.Bool
}

func (s *settlement) settle(ctx context.Context, cost int) error {
	if s.settled.Swap(true) {
		return errSettled
	}
	c := s.charge
	c.Cost = min(cost, maxUnits) - c.Cost
	if s.by == nil || c.Cost == 0 {
		return nil
	}
	return s.by.Adjust(context.WithoutCancel(ctx), c)
}

func (s *settlement) reset(ctx context.Context) error {
	if s.settled.Swap(true) {
		return errSettled
	}
	if s.by == nil {
		return nil
	}
	resetter, ok := s.by.(Resetter)
	if !ok {
		return errReset
	}
	return resetter.Reset(context.WithoutCancel(ctx), s.charge.Rule, s.charge.Key)
}

// settlements are the settlements of one middleware, in the context of a request.
type settlements struct {
	outer *settlements // the settlements of the next outer middleware
	list  []*settlement
}

type settlementsKey struct{}

func findSettlement(ctx context.Context, rule string) (*settlement, error) {
	all, _ := ctx.Value(settlementsKey{}).(*settlements)
	for ; all != nil; all = all.outer {
		for _, s := range all.list {
			if s.rule.Name == rule {
				return s, nil
			}
		}
	}
	return nil, fmt.Errorf("ratelimit: the request has no rule %.64q that can be settled", rule)
}

// newSettlements returns the settlements of a request. They include rules that have
// charged nothing, since a handler may settle these without an error. If by is nil, no
// rule has charged anything.
func (m *middleware) newSettlements(r *http.Request, items []item, by Limiter) *settlements {
	all := new(settlements)
	all.outer, _ = r.Context().Value(settlementsKey{}).(*settlements)
	for _, ru := range m.rules {
		if !ru.settles() {
			continue
		}
		s := &settlement{rule: ru}
		for i := range items {
			if items[i].rule == ru && by != nil {
				s.charge, s.by = items[i].charge, by.(Adjuster) // rule.register has checked the type
			}
		}
		all.list = append(all.list, s)
	}
	return all
}

// serveSettled runs the handler, and then calls CostAfter for the rules that the handler
// has not settled.
func (m *middleware) serveSettled(w http.ResponseWriter, r *http.Request, next http.Handler, items []item, by Limiter) {
	all := m.newSettlements(r, items, by)
	inner := r.WithContext(context.WithValue(r.Context(), settlementsKey{}, all))
	w, sent := track.Wrap(w, r)
	reqstate.Serve(next, w, r, inner)
	for _, s := range all.list {
		if s.rule.CostAfter == nil || s.settled.Load() {
			continue
		}
		cost := s.rule.CostAfter(inner, statusOf(sent))
		if cost < 0 {
			continue
		}
		if err := s.settle(r.Context(), cost); err != nil && !errors.Is(err, errSettled) {
			m.logFailure(context.WithoutCancel(r.Context()), err)
		}
	}
}

// statusOf returns the status that the client got from a handler that has returned.
func statusOf(sent *track.Response) int {
	switch {
	case sent.Status() != 0:
		return sent.Status()
	case sent.Hijacked():
		return http.StatusSwitchingProtocols
	default:
		return http.StatusOK
	}
}
