package idempotenttest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

var waiting = []testCase{
	{"Wait returns if the record is not running", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		wait := func(c idempotent.Claim) {
			f.Helper()
			f.ok("Wait", bounded(f.T, "Wait", patience, func() error { return w.Wait(f.Context(), c.ID) }))
		}
		wait(newClaim())
		for _, o := range completions() {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			wait(c)
		}
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep + slack)
		wait(c)
	}},
	{"Wait returns when the record stops running", func(f *fixture) {
		for i, o := range append(completions(), unknown) {
			c := newClaim()
			f.wantAcquired(c, 1)
			if i < 4 { // the last one is unknown without an effect
				f.ok("BeginEffect", f.beginEffect(c))
			}
			woken := f.waiters(c)
			f.ok("Renew", f.renew(c))
			f.ok("Finish", f.finish(c, o))
			f.wantWoken(woken)
		}
	}},
	{"Wait returns after Resolve", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		for _, o := range []idempotent.Completion{done("resolved"), notKept, released} {
			c := f.begin()
			f.advance(lease + slack)
			woken := f.waiters(c)
			f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
			f.wantWoken(woken)
		}
	}},
	{"Wait does not end an unknown record", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		f.wantOwnerGoesOn(func(c idempotent.Claim) {
			ctx, cancel := context.WithTimeout(f.Context(), 10*time.Millisecond)
			defer cancel()
			err := bounded(f.T, "Wait", patience, func() error { return w.Wait(ctx, c.ID) })
			if err != nil && !errors.Is(err, ctx.Err()) {
				f.Errorf("Wait returned %v, want nil or %v", err, ctx.Err())
			}
		})
	}},
	{"Wait for one record does not depend on another one", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		a, b := newClaim(), newClaim()
		f.wantAcquired(a, 1)
		f.wantAcquired(b, 1)
		woken := make(chan error, 1)
		go func() { woken <- w.Wait(f.Context(), a.ID) }()
		f.ok("Finish", f.finish(b, done("b")))
		f.ok("Finish", f.finish(a, done("a")))
		f.ok("Wait", bounded(f.T, "Wait", patience, func() error { return <-woken }))
	}},
	{"Wait ends with its context", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		c := newClaim()
		f.wantAcquired(c, 1)
		ended, cancel := context.WithCancel(f.Context())
		cancel()
		ending, cancel := context.WithTimeout(f.Context(), 10*time.Millisecond)
		defer cancel()
		for _, ctx := range []context.Context{ended, ending} {
			err := bounded(f.T, "Wait", patience, func() error { return w.Wait(ctx, c.ID) })
			if err != nil && !errors.Is(err, ctx.Err()) { // Wait may return nil early
				f.Errorf("Wait returned %v, want nil or %v", err, ctx.Err())
			}
		}
		f.want(rival(c), idempotent.VerdictRunning)
	}},
}

// waiters starts calls of Wait for the record of c, and returns a channel of their results.
func (f *fixture) waiters(c idempotent.Claim) <-chan error {
	f.Helper()
	w := f.store.(idempotent.Waiter)
	woken := make(chan error, 3)
	var begun sync.WaitGroup
	for range cap(woken) {
		begun.Add(1)
		go func() {
			begun.Done()
			woken <- w.Wait(f.Context(), c.ID)
		}()
	}
	begun.Wait()
	for range 20 { // give the calls time to subscribe
		f.want(other(c), idempotent.VerdictMismatch)
	}
	return woken
}

func (f *fixture) wantWoken(woken <-chan error) {
	f.Helper()
	for range cap(woken) {
		f.ok("Wait", bounded(f.T, "Wait", patience, func() error { return <-woken }))
	}
}
