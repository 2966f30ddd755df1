package ratelimit

import (
	"context"
	"slices"
	"time"
)

// localShare is a Memory that allows each key a share of its limit: with three processes, every
// charge costs three times as much. If that is more than the burst, a full bucket allows it and is
// in debt afterward, so that a small limit still allows something.
type localShare struct {
	*Memory
	processes int
}

// Take implements [Limiter].
func (s *localShare) Take(ctx context.Context, c Charge) (Decision, error) {
	var into [1]Decision
	err := s.TakeAll(ctx, []Charge{c}, into[:])
	return into[0], err
}

// TakeAll implements [MultiLimiter].
func (s *localShare) TakeAll(ctx context.Context, charges []Charge, into []Decision) error {
	scaled := slices.Clone(charges)
	for i, c := range charges {
		if burst := c.Limit.burst(); c.Cost <= burst {
			scaled[i].Cost = int(min(s.times(c.Cost), int64(burst)))
		}
	}
	if err := s.Memory.TakeAll(ctx, scaled, into); err != nil {
		return err
	}
	denied := slices.ContainsFunc(into, func(d Decision) bool { return !d.Allowed })
	for i, c := range charges {
		var debt int64
		if !denied {
			debt = s.times(c.Cost) - int64(scaled[i].Cost)
		}
		if debt > 0 {
			c.Cost = int(min(debt, maxUnits))
			if err := s.Memory.Adjust(ctx, c); err != nil {
				return err
			}
		}
		into[i] = s.decision(into[i], debt)
	}
	return nil
}

// Adjust implements [Adjuster].
func (s *localShare) Adjust(ctx context.Context, c Charge) error {
	c.Cost = int(min(max(s.times(c.Cost), -maxUnits), maxUnits))
	return s.Memory.Adjust(ctx, c)
}

// decision returns a decision with the units that this process can use, after a debt.
func (s *localShare) decision(d Decision, debt int64) Decision {
	if d.RefillAfter > 0 {
		d.RefillAfter += d.Limit.refill(float64(s.processes - 1 - d.Remaining%s.processes))
		d.RefillAfter = min(d.RefillAfter, max(d.ResetAfter, time.Nanosecond)) + d.Limit.refill(float64(debt))
		d.ResetAfter += d.Limit.refill(float64(debt))
	}
	d.Remaining /= s.processes
	return d
}

// times returns a cost multiplied by the number of processes. It may not fit an int.
func (s *localShare) times(cost int) int64 { return int64(cost) * int64(s.processes) }
