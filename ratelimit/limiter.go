package ratelimit

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// Limiter decides. Implementations are safe for several goroutines; package ratelimittest checks one.
type Limiter interface {
	// Take takes c.Cost units from the bucket of (c.Rule, c.Key) if it holds as many, else none, in one atomic step. A bucket that
	// was never seen is full.
	//
	//   - A cost of 0 looks and changes nothing: it is always allowed, and does not make a bucket.
	//   - A cost over the burst can never be admitted: it is denied with a RetryAfter of 0, and changes nothing.
	//   - When c.Limit is not the one that the bucket had, the units that are in it stay, as far as the new Burst holds them, and from then
	//     on they come back by c.Limit: also when this charge is denied, or RetryAfter would not be true.
	//   - A bucket may be forgotten once it is full, by all limits that it had since it was made: else a caller with two limits would
	//     drain the large one, fill up the small one, and find the large one full.
	//
	// The error is never about the caller being over a limit: it is that of c.Validate, [ErrFull], or trouble of the back end. It goes into
	// the log, so it must not hold the key. The context is that of the request, and so is its deadline: who asks another machine needs a
	// time-out of its own, or requests wait as long as that does.
	Take(ctx context.Context, c Charge) (Decision, error)
}

// MultiLimiter is a Limiter that can charge several buckets in one atomic step.
type MultiLimiter interface {
	Limiter

	// TakeAll makes all of the charges if each is admitted, else none of them. The outcome of charges[i] goes into into[i], which
	// tells whether that charge by itself is admitted; the two have the same length. Two charges of one bucket are an error: they are one
	// charge with a larger cost. After an error what is in into means nothing, and nothing is charged, unless only the reply was lost. An
	// implementation keeps neither slice.
	TakeAll(ctx context.Context, charges []Charge, into []Decision) error
}

// Charge asks for units of one bucket. The limit travels with it: which one a caller has, by plan or by route, is for the caller of
// Take to know.
type Charge struct {
	Rule  string // the name of the rule; together with Key it names the bucket
	Key   string // whose bucket it is
	Limit Limit
	Cost  int // units, usually 1; 0 looks without taking
}

// Validate returns an error for a negative cost and for what [Limit.Validate] refuses.
func (c *Charge) Validate() error {
	if c.Cost < 0 {
		return errCost
	}
	return c.Limit.Validate()
}

// Decision is the outcome of a [Charge]. Its durations count from the moment of the decision.
type Decision struct {
	// Allowed tells whether the bucket holds the units that were asked for. They have been taken then; of several charges that are made
	// together, only when all are allowed.
	Allowed bool

	// Limit is that of the charge.
	Limit Limit

	// Remaining is the number of whole units left.
	Remaining int

	// RetryAfter is, for a denial, the least whole number of seconds, at least one, after which the same charge is admitted if nobody
	// else takes from the bucket. It is 0 when the charge was allowed, and for a cost over the burst: waiting does not help.
	RetryAfter time.Duration

	// RefillAfter is the time until there is one unit more than Remaining; 0 for a full bucket.
	RefillAfter time.Duration

	// ResetAfter is the time until the bucket is full; 0 when it is.
	ResetAfter time.Duration
}

// ErrFull is the error of a limiter that has no room for another bucket and was told to refuse then: see [RefuseNew].
var ErrFull = errors.New("ratelimit: no room for another key")

// decide describes a bucket after a charge. A nil bucket is a full one.
func (d *Decision) decide(bucket *rate.Limiter, now time.Time, c *Charge, allowed bool) {
	burst, perUnit := c.Limit.burst(), c.Limit.perUnit()
	tokens := float64(burst)
	if bucket != nil {
		tokens = min(tokens, bucket.TokensAt(now)) // a peek under a smaller limit does not change the bucket's
	}
	d.Allowed, d.Limit, d.Remaining = allowed, c.Limit, max(int(tokens), 0)
	if d.Remaining < burst {
		d.RefillAfter = refill(float64(d.Remaining+1)-tokens, perUnit)
		if d.RefillAfter == 0 {
			d.Remaining++
			d.RefillAfter = refill(float64(min(d.Remaining+1, burst))-tokens, perUnit)
		}
		d.ResetAfter = refill(float64(burst)-tokens, perUnit)
	}
	if !allowed && c.Cost <= burst {
		d.RetryAfter = retryAfter(bucket, now, c, refill(float64(c.Cost)-tokens, perUnit))
	}
}

// retryAfter is the least whole number of seconds, at least one, after which the bucket admits the charge. Wait is that time more or less.
func retryAfter(bucket *rate.Limiter, now time.Time, c *Charge, wait time.Duration) time.Duration {
	// Floating point may miss the boundary of a second by a hair, to either side: less than a microsecond for a bucket that is full
	// within ten years. There, the bucket itself knows.
	const hair = time.Microsecond
	seconds := max(ceilSecond(wait), time.Second)
	if off := wait - wait.Round(time.Second); off > hair || off < -hair || bucket == nil {
		return seconds
	}
	admits := func(after time.Duration) bool { // as AllowN reckons, which would take the units
		missing := float64(c.Cost) - bucket.TokensAt(now.Add(after))
		return missing <= 0 || time.Duration(missing/float64(c.Limit.rate())*float64(time.Second)) == 0
	}
	switch {
	case seconds > time.Second && admits(seconds-time.Second):
		return seconds - time.Second
	case !admits(seconds):
		return seconds + time.Second
	}
	return seconds
}

// ceilSecond rounds up to whole seconds, as far as a Duration goes.
func ceilSecond(d time.Duration) time.Duration {
	cut := d.Truncate(time.Second)
	if up := cut + time.Second; cut < d && up > cut {
		return up
	}
	return cut
}
