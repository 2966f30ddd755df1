package idempotent

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// renew renews the lease every third of it, until stop is called, the lease is lost, or MaxRun
// is over: then nothing holds the key for longer than the lease. The lease was asked for at the
// given time. The function stop waits for a renewal that is on its way, unless the store ignores
// its context.
func (n *run) renew(asked time.Time) (stop func()) {
	ctx, cancel := context.WithTimeout(n.uncanceled, cmp.Or(n.opt.MaxRun, forever))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // of a logger: it must not end the process
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

// renewUntil renews a lease that ends at the given time if nothing is heard from the store.
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
		case ctx.Err() != nil || n.isOver():
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
