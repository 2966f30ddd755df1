package idemtest

import (
	"context"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Polled is a [Reference] whose Wait asks, with an [idempotent.Poller].
type Polled struct {
	*Reference
	poller *idempotent.Poller
}

// NewPolled returns an empty store with the given clock, which asks about every interval.
func NewPolled(now func() time.Duration, every time.Duration) *Polled {
	s := &Polled{Reference: NewReference(now)}
	s.poller = idempotent.NewPoller(s.look, &idempotent.PollerOptions{Every: every})
	return s
}

func (s *Polled) look(_ context.Context, ids []idempotent.ID) (running []idempotent.ID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, id := range ids {
		if s.load(id, now).running() {
			running = append(running, id)
		}
	}
	return running, nil
}

// Wait implements [idempotent.Waiter].
func (s *Polled) Wait(ctx context.Context, id idempotent.ID) error { return s.poller.Wait(ctx, id) }
