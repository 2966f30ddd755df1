package idempotent

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrLeaseLost is the cause with which a handler's context is cancelled (context.Cause) when its claim was taken over, or
// could not be renewed before its lease was over, so that another process may take over. [BeginEffect] returns it too.
var ErrLeaseLost = errors.New("idempotent: the lease was lost")

// keeper renews a run's lease, every third of it, until it is stopped. It has a goroutine only while it renews.
type keeper struct {
	run *run

	mu      sync.Mutex // held during a renewal
	timer   *time.Timer
	until   time.Time // when the lease is over if nothing is heard from the store
	stopped bool
}

// start begins to renew a lease that was asked for at the given time.
func (k *keeper) start(n *run, asked time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.run, k.until = n, asked.Add(n.Lease)
	k.timer = time.AfterFunc(n.Lease/3, k.renew)
}

func (k *keeper) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	n, sent := k.run, time.Now()
	err := n.call(context.WithoutCancel(&n.ctx), n.StoreTimeout, func(ctx context.Context) error {
		return n.store.Renew(ctx, n.lease(), n.Lease)
	})
	now := time.Now()
	switch {
	case err == nil:
		k.until = sent.Add(n.Lease)
		k.timer.Reset(n.Lease / 3)
	case errors.Is(err, ErrLost) || !now.Before(k.until):
		if !n.done() {
			n.cancel(ErrLeaseLost)
			n.warn("idempotent: a lease was lost while the handler ran", err)
		}
	default:
		k.timer.Reset(min(n.Lease/10, k.until.Sub(now)))
	}
}

// stop ends the renewals, and waits for one that is on its way.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}
