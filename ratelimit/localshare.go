package ratelimit

import (
	"context"
	"time"
)

// localShare is a Memory that allows each key a share of its limit: with three processes, every
// charge costs three times as much. A single charge never costs more than the burst, so that a
// small limit still allows something.
type localShare struct {
	*Memory
	processes int
}

// Take implements [Limiter].
func (s *localShare) Take(ctx context.Context, c Charge) (Decision, error) {
	d, err := s.Memory.Take(ctx, s.charge(c))
	return s.decision(d), err
}

// TakeAll implements [MultiLimiter].
func (s *localShare) TakeAll(ctx context.Context, charges []Charge, into []Decision) error {
	scaled := make([]Charge, len(charges))
	for i, c := range charges {
		scaled[i] = s.charge(c)
	}
	err := s.Memory.TakeAll(ctx, scaled, into)
	for i := range into {
		into[i] = s.decision(into[i])
	}
	return err
}

// Adjust implements [Adjuster].
func (s *localShare) Adjust(ctx context.Context, c Charge) error {
	c.Cost = int(min(max(s.times(c.Cost), -maxUnits), maxUnits))
	return s.Memory.Adjust(ctx, c)
}

func (s *localShare) charge(c Charge) Charge {
	if burst := c.Limit.burst(); c.Cost <= burst {
		c.Cost = int(min(s.times(c.Cost), int64(burst)))
	}
	return c
}

// decision returns a decision with the units that this process can use.
func (s *localShare) decision(d Decision) Decision {
	if rest := d.Remaining % s.processes; d.RefillAfter > 0 {
		d.RefillAfter += d.Limit.refill(float64(s.processes - 1 - rest))
		d.RefillAfter = min(d.RefillAfter, max(d.ResetAfter, time.Nanosecond))
	}
	d.Remaining /= s.processes
	return d
}

// times returns a cost multiplied by the number of processes. It may not fit an int.
func (s *localShare) times(cost int) int64 { return int64(cost) * int64(s.processes) }
