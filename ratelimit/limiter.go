package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Limiter decides. Implementations are safe for several goroutines; package ratelimittest checks
// one.
type Limiter interface {
	// Take takes c.Cost units from the bucket of (c.Rule, c.Key) if it holds as many, else none, in
	// one atomic step. A bucket that was never seen is full.
	//
	//   - A cost of 0 looks and changes nothing: it is always allowed, and does not make a bucket.
	//   - A cost over the burst can never be admitted: it is denied with a RetryAfter of 0, and
	//     changes nothing.
	//   - When c.Limit is not the one that the bucket had, the units that are in it stay, as far as
	//     the new Burst holds them, and from then on they come back by c.Limit: also when this
	//     charge is denied, or RetryAfter would not be true.
	//   - A bucket may be forgotten once it is full, by all limits that it had since it was made:
	//     else a caller with two limits would drain the large one, fill up the small one, and find
	//     the large one full.
	//
	// The error is never about the caller being over a limit: it is that of c.Validate, [ErrFull],
	// or trouble of the back end. It goes into the log, so it must not hold the key. The context is
	// that of the request, and so is its deadline: who asks another machine needs a time-out of its
	// own, or requests wait as long as that does.
	Take(ctx context.Context, c Charge) (Decision, error)
}

// MultiLimiter is a Limiter that can charge several buckets in one atomic step.
type MultiLimiter interface {
	Limiter

	// TakeAll makes all of the charges if each is admitted, else none of them. The outcome of
	// charges[i] goes into into[i], which says whether that charge by itself is admitted; the two
	// have the same length. Two charges of one bucket are an error: they are one charge with a
	// larger cost. After an error what is in into means nothing, and nothing is charged, unless
	// only the reply was lost. An implementation keeps neither slice.
	TakeAll(ctx context.Context, charges []Charge, into []Decision) error
}

// Adjuster is a Limiter that can correct a charge afterwards, when it is known what a request
// really cost: see [Settle].
type Adjuster interface {
	// Adjust takes c.Cost units more from the bucket of (c.Rule, c.Key), or gives back as many if
	// c.Cost is negative, in one atomic step that is never denied.
	//
	//   - What is given back never fills a bucket above its burst. To a bucket that is not there,
	//     which is full, nothing is given.
	//   - What is taken may put the bucket into debt: it then holds less than nothing, and has
	//     nothing for anybody until that much has come back. A bucket that is not there is made,
	//     full by c.Limit, and charged.
	//   - A bucket keeps the limit that it has: the caller may have another plan by now than the
	//     one that it was charged by.
	//   - A cost of 0 changes nothing.
	//
	// The error is one of c.Limit.Validate, one about a cost beyond 1e9 either way, [ErrFull], or
	// trouble of the back end.
	Adjust(ctx context.Context, c Charge) error
}

// Resetter is a Limiter that can fill a bucket.
type Resetter interface {
	// Reset makes the bucket of (rule, key) a full one, as if it had never been seen. The key is
	// what the KeyFunc returned, such as "principal:acct_1"; a key of more than 256 bytes is only
	// known by its hash.
	Reset(ctx context.Context, rule, key string) error
}

// Registrar is a Limiter that is told about the rules that charge it, when [New] is called.
type Registrar interface {
	// Register returns an error if a rule of this name was registered with another limit: its
	// buckets would be shared by rules that know nothing of each other. [New] panics then.
	Register(rule string, l Limit) error
}

// Charge asks for units of one bucket. The limit travels with it: which one a caller has, by plan
// or by route, is for the caller of Take to know.
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

// validateAdjust is Validate for Adjust.
func (c *Charge) validateAdjust() error {
	if c.Cost < -maxUnits || c.Cost > maxUnits {
		return errAdjust
	}
	return c.Limit.Validate()
}

// Decision is the outcome of a [Charge]. Its durations count from the moment of the decision.
type Decision struct {
	// Allowed reports whether the bucket holds the units that were asked for. They have been taken
	// then; of several charges that are made together, only when all are allowed.
	Allowed bool

	// Limit is that of the charge.
	Limit Limit

	// Remaining is the number of whole units left.
	Remaining int

	// RetryAfter is, for a denial, the least whole number of seconds, at least one, after which the
	// same charge is admitted if nobody else takes from the bucket. It is 0 when the charge was
	// allowed, and for a cost over the burst: waiting does not help.
	RetryAfter time.Duration

	// RefillAfter is the time until there is one unit more than Remaining; 0 for a full bucket.
	RefillAfter time.Duration

	// ResetAfter is the time until the bucket is full; 0 when it is.
	ResetAfter time.Duration
}

// ErrFull is the error of a limiter that has no room for another bucket and was told to refuse
// then: see [RefuseNew].
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

// sound makes sense of what a limiter says that may be somebody else's. Clients read several of
// these numbers, which must not contradict each other: what the limiter does not say follows from
// what it says.
func (d *Decision) sound(c *Charge) {
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

// wait is how long a charge that was denied has to wait, not rounded to seconds.
func (d *Decision) wait(c *Charge) time.Duration {
	rest := refill(float64(c.Cost-d.Remaining-1), c.Limit.perUnit())
	return d.RefillAfter + min(rest, math.MaxInt64-d.RefillAfter)
}

// retryAfter is the least whole number of seconds, at least one, after which the bucket admits the
// charge. Wait is that time more or less.
func retryAfter(bucket *rate.Limiter, now time.Time, c *Charge, wait time.Duration) time.Duration {
	// Floating point may miss the boundary of a second by a hair, to either side: less than a
	// microsecond for a bucket that is full within ten years. There, the bucket itself knows.
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
