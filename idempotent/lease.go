package idempotent

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// renew renews the lease, which was asked for at the given time, each time that a third of it
// has passed. The renewals end when stop is called, when the lease is lost, and after MaxRun,
// so that no run holds its key forever. The function stop waits for a renewal that has begun,
// unless the store ignores its context.
func (n *run) renew(asked time.Time) (stop func()) {
	ctx, cancel := context.WithTimeout(n.uncanceled, cmp.Or(n.opt.MaxRun, forever))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // a logger that panics must not end the process
		n.renewUntil(ctx, asked.Add(n.opt.Lease))
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(n.opt.StoreTimeout):
		}
	}
}

// renewUntil renews a lease that ends at the given time unless the store renews it.
func (n *run) renewUntil(ctx context.Context, ends time.Time) {
	for wait := n.opt.Lease / 3; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		sent := time.Now()
		err := n.once(ctx, min(n.opt.StoreTimeout, ends.Sub(sent)), func(ctx context.Context) error {
			return n.store.Renew(ctx, n.owner(), n.opt.Lease)
		})
		now := time.Now()
		switch {
		case err == nil:
			ends, wait = sent.Add(n.opt.Lease), n.opt.Lease/3
		case ctx.Err() != nil || !n.needsLease():
			return
		case errors.Is(err, ErrLost) || !now.Before(ends):
			n.cancel(ErrLeaseLost)
			n.warn("idempotent: a lease was lost during the run", err)
			return
		default:
			wait = min(n.opt.Lease/10, ends.Sub(now))
		}
	}
}
