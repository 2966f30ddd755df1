package idempotent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// pause waits before the store is asked again, the longer the more often it was asked. It tells whether there is time left
// to ask.
func (q *request) pause(n int, leaseLeft time.Duration) bool {
	ctx := q.r.Context()
	left := q.timeLeft()
	if left <= 0 || ctx.Err() != nil || !q.flights.poll() {
		return false
	}
	defer q.flights.polled()
	q.waited = true
	const first, longest = 50 * time.Millisecond, time.Second
	d := min(first<<min(n, 5), longest)
	d = d/2 + rand.N(d)
	if leaseLeft > 0 {
		d = min(d, leaseLeft)
	}
	ctx, cancel := context.WithTimeout(ctx, min(d, left))
	defer cancel()
	// A hint that turned out to be wrong is not asked for twice in a row, or a Waiter that always returns would make a busy
	// loop.
	if q.waiter != nil && !q.woken {
		q.woken = q.waiter.Wait(ctx, q.event.ID) == nil
		if q.woken {
			return true
		}
	}
	q.woken = false
	<-ctx.Done()
	return q.r.Context().Err() == nil
}

// detached is the context for calls of the store that a client's going away must not stop.
func (q *request) detached() context.Context {
	if q.instant {
		return context.Background()
	}
	return context.WithoutCancel(q.r.Context())
}

// call runs one call of the store, with a time-out. A driver that panics has failed.
func (m *middleware) call(ctx context.Context, timeout time.Duration, op func(context.Context) error) (err error) {
	if !m.instant {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("idempotent: the store panicked: %v", p)
		}
	}()
	return op(ctx)
}

// try repeats a call of the store until it is answered or patience is at its end: a call that failed may have lost no more
// than its reply.
func (m *middleware) try(ctx context.Context, patience time.Duration, op func(context.Context) error) error {
	if m.instant { // whose errors stay
		return m.call(ctx, patience, op)
	}
	end := time.Now().Add(patience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err := m.call(ctx, min(m.StoreTimeout, time.Until(end)), op)
		if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrFull) {
			return err
		}
		jittered := pause/2 + rand.N(pause)
		if time.Until(end) <= jittered {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(jittered):
		}
	}
}
