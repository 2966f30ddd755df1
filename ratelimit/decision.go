package ratelimit

import (
	"cmp"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Decision is the result of a [Charge]. Its durations count from the time of the decision.
type Decision struct {
	// Allowed reports whether the bucket held enough units. If so, they were taken,
	// unless another charge of the same TakeAll was denied.
	Allowed bool

	// Limit is the limit of the charge.
	Limit Limit

	// Remaining is the number of whole units left.
	Remaining int

	// RetryAfter is the wait after a denial, in whole seconds, at least one. If nothing
	// else is charged to the bucket, the same charge is allowed after that time, but not
	// one second earlier. It is 0 if the charge was allowed. It is also 0 if the cost is
	// over the burst, since waiting does not help.
	RetryAfter time.Duration

	// RefillAfter is the time until the bucket has one more unit. It is 0 if the bucket
	// is full.
	RefillAfter time.Duration

	// ResetAfter is the time until the bucket is full. It is 0 if the bucket is full.
	ResetAfter time.Duration
}

// decide describes a bucket after a charge. A nil entry is a full bucket.
func decide(e *entry, now time.Time, c *Charge, allowed bool) Decision {
	burst := c.Limit.burst()
	d := Decision{Allowed: allowed, Limit: c.Limit, Remaining: burst}
	if e == nil {
		return d
	}
	tokens := held(&e.bucket, now, c.Limit)
	d.Remaining = max(int(math.Floor(tokens)), 0)
	if d.Remaining < burst {
		d.RefillAfter = c.Limit.refill(float64(d.Remaining+1) - tokens)
		d.ResetAfter = c.Limit.refill(float64(burst) - tokens)
	}
	if !allowed && c.Cost <= burst {
		d.RetryAfter = retryAfter(&e.bucket, now, c)
	}
	return d
}

// held returns the units that a bucket has for a charge with the limit l, which may be
// smaller than the bucket's own. A unit that is less than a nanosecond away counts, as it
// does for AllowN.
func held(b *rate.Limiter, now time.Time, l Limit) float64 {
	tokens := min(b.TokensAt(now), float64(l.burst()))
	if next := math.Ceil(tokens); l.refill(next-tokens) == 0 {
		return next
	}
	return tokens
}

// retryAfter returns the least whole number of seconds, at least one, after which the
// bucket admits the charge. The floating-point result may be a nanosecond off at the
// boundary of a second, so retryAfter checks whether the bucket admits the charge at that
// time.
func retryAfter(b *rate.Limiter, now time.Time, c *Charge) time.Duration {
	cost := float64(c.Cost)
	admits := func(after time.Duration) bool { return held(b, now.Add(after), c.Limit) >= cost }
	wait := max(ceilSecond(c.Limit.refill(cost-held(b, now, c.Limit))), time.Second)
	switch {
	case wait > time.Second && admits(wait-time.Second):
		return wait - time.Second
	case !admits(wait):
		return wait + time.Second
	}
	return wait
}

// complete corrects a decision, which may come from a limiter other than Memory, so that
// the numbers in the response do not contradict each other. It computes missing numbers
// from the others.
func (d *Decision) complete(c *Charge) {
	burst := c.Limit.burst()
	d.Remaining = min(max(d.Remaining, 0), burst)
	d.RefillAfter, d.ResetAfter = max(d.RefillAfter, 0), max(d.ResetAfter, 0)
	if d.Allowed {
		return
	}
	if c.Cost > burst {
		d.RetryAfter = 0
		return
	}
	d.RetryAfter = max(d.RetryAfter, 0)
	if d.RefillAfter == 0 {
		d.RefillAfter = cmp.Or(d.RetryAfter, d.ResetAfter)
	}
	if d.RetryAfter == 0 {
		d.RetryAfter = d.wait(c)
		if d.ResetAfter > 0 {
			d.RetryAfter = min(d.RetryAfter, d.ResetAfter)
		}
	}
	d.RetryAfter = max(ceilSecond(d.RetryAfter), time.Second)
	d.ResetAfter = max(d.ResetAfter, d.RefillAfter)
}

// wait returns how long a denied charge has to wait, without rounding.
func (d *Decision) wait(c *Charge) time.Duration {
	rest := c.Limit.refill(float64(c.Cost - d.Remaining - 1))
	return d.RefillAfter + min(rest, math.MaxInt64-d.RefillAfter)
}

// ceilSecond rounds up to whole seconds, or down if a Duration cannot hold the result.
func ceilSecond(d time.Duration) time.Duration {
	cut := d.Truncate(time.Second)
	if up := cut + time.Second; cut < d && up > cut {
		return up
	}
	return cut
}
