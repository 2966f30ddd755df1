package idempotenttest

import (
	"context"
	"errors"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// patience is how long something that must happen may take on the machine's clock.
const patience = 10 * time.Second

// optional: what a store may have beyond the four operations.
var optional = []testCase{
	{"Resolve settles what is unknown", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		enter := []func(c idempotent.Claim){
			func(c idempotent.Claim) { f.ok("Finish", f.finish(c, unknown)) },
			func(c idempotent.Claim) { f.ok("Mark", f.mark(c)); f.advance(lease + time.Second) },
		}
		for _, enter := range enter {
			for _, o := range []idempotent.Outcome{done("resolved"), sealed, released} {
				c := newClaim()
				f.wantAcquired(c, 1)
				enter(c)
				f.ok("Resolve", r.Resolve(f.ctx(), c.ID, o))
				if o.State != idempotent.Released {
					f.wantLost(c)
				}
				f.wantOutcome(c, o)
				if err := r.Resolve(f.ctx(), c.ID, o); !errors.Is(err, idempotent.ErrNotUnknown) {
					f.Errorf("second Resolve: %v, want ErrNotUnknown", err)
				}
			}
		}
	}},
	{"Resolve keeps off all else", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		enter := map[string]func(c idempotent.Claim){
			"absent":     func(c idempotent.Claim) { f.ok("Finish", f.finish(c, released)) },
			"running":    func(idempotent.Claim) {},
			"lease over": func(idempotent.Claim) { f.advance(lease + time.Second) },
			"marked":     func(c idempotent.Claim) { f.ok("Mark", f.mark(c)) },
			"done":       func(c idempotent.Claim) { f.ok("Finish", f.finish(c, done("response"))) },
			"sealed":     func(c idempotent.Claim) { f.ok("Finish", f.finish(c, sealed)) },
		}
		for name, enter := range enter {
			c := newClaim()
			f.wantAcquired(c, 1)
			enter(c)
			for _, o := range []idempotent.Outcome{done("resolved"), released} {
				if err := r.Resolve(f.ctx(), c.ID, o); !errors.Is(err, idempotent.ErrNotUnknown) {
					f.Errorf("%s: Resolve: %v, want ErrNotUnknown", name, err)
				}
			}
		}
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, unknown))
		if r.Resolve(f.ctx(), c.ID, unknown) == nil {
			f.Error("Resolve as unknown: no error")
		}
		f.wantOutcome(c, unknown)
	}},
	{"Wait returns when the record has changed", func(f *fixture) {
		w, ok := f.store.(idempotent.Waiter)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(f.ctx(), patience)
		defer cancel()
		c := newClaim()
		f.ok("Wait for an absent record", w.Wait(ctx, c.ID))
		for _, o := range outcomes() {
			c := newClaim()
			f.wantAcquired(c, 1)
			woken := make(chan error, 3)
			for range cap(woken) {
				go func() { woken <- w.Wait(ctx, c.ID) }()
			}
			f.ok("Finish", f.finish(c, o))
			for range cap(woken) {
				f.ok("Wait", <-woken)
			}
			f.ok("Wait for a finished record", w.Wait(ctx, c.ID))
		}
	}},
	{"Wait ends with its context", func(f *fixture) {
		w, ok := f.store.(idempotent.Waiter)
		if !ok {
			return
		}
		c := newClaim()
		f.wantAcquired(c, 1)
		ctx, cancel := context.WithCancel(f.ctx())
		cancel()
		_ = w.Wait(ctx, c.ID) // an error, or an early nil: it must return
		f.want(rival(c), idempotent.InFlight)
	}},
	{"Sweep removes what is over and nothing else", func(f *fixture) {
		s, ok := f.store.(idempotent.Sweeper)
		if !ok {
			return
		}
		var over []idempotent.Claim
		for _, o := range outcomes()[:3] {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.ok("Finish", f.finish(c, o))
			over = append(over, c)
		}
		abandoned := newClaim()
		f.wantAcquired(abandoned, 1)
		over = append(over, abandoned)
		renewed := newClaim()
		f.wantAcquired(renewed, 1)
		f.advance(keep - lease)
		f.ok("Renew", f.store.Renew(f.ctx(), renewed.Own(), 2*lease))
		fresh := newClaim()
		f.wantAcquired(fresh, 1)
		f.ok("Finish", f.finish(fresh, done("fresh")))
		f.advance(lease + time.Second)

		for i, limit := range []int{1, 2, 0, 0} {
			n, err := s.Sweep(f.ctx(), limit)
			f.ok("Sweep", err)
			if want := []int{1, 2, 1, 0}[i]; n < want || limit > 0 && n > limit {
				f.Errorf("Sweep %d with the limit %d removed %d, want %d", i, limit, n, want)
			}
		}
		f.want(rival(renewed), idempotent.InFlight)
		f.wantOutcome(fresh, done("fresh"))
		for _, c := range over {
			f.wantAcquired(other(c), 1)
		}
	}},
}
