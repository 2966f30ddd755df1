package ratelimit

import (
	"context"
	"errors"
)

// Limiter decides about charges. It is safe for concurrent use. Package ratelimittest tests
// implementations.
type Limiter interface {
	// Take takes c.Cost units from the bucket of (c.Rule, c.Key) if it holds as many, and
	// otherwise none, in one atomic step. A bucket that was never charged is full.
	//
	//   - A cost of 0 is always allowed. It does not change or create a bucket.
	//   - A cost over the burst is denied, with a RetryAfter of 0. It does not change or
	//     create a bucket.
	//   - If c.Limit is not the limit that the bucket has, it is from now on, even if the
	//     charge is denied: RetryAfter depends on it. The units in the bucket stay, up to
	//     the new Burst.
	//   - A bucket may be forgotten when it is full by all limits that it had since it
	//     was created. If the last one were enough, a caller with two limits could drain
	//     a bucket under the large one and refill it under the small one.
	//
	// The error is that of c.Validate, [ErrFull], or an error of the back end. It is
	// logged, so it must not hold the key. The context is that of the request. If Take
	// asks another machine, it needs a shorter timeout.
	Take(ctx context.Context, c Charge) (Decision, error)
}

// MultiLimiter is a Limiter that can charge several buckets in one atomic step.
type MultiLimiter interface {
	Limiter

	// TakeAll makes all charges if each of them is allowed, and otherwise none. It sets
	// into[i] to the decision about charges[i] alone. The slices have the same length,
	// and are not kept. Two charges to the same bucket are an error. After an error
	// nothing is charged, unless only the reply was lost, and into means nothing.
	TakeAll(ctx context.Context, charges []Charge, into []Decision) error
}

// Adjuster is a Limiter that can correct a charge when the real cost is known: see [Settle].
type Adjuster interface {
	// Adjust takes c.Cost units from the bucket of (c.Rule, c.Key), or gives them back if
	// c.Cost is negative, in one atomic step that is never denied.
	//
	//   - Giving back never fills a bucket above its burst. It does not create a bucket.
	//   - Taking may put the bucket into debt: it then admits nothing until the debt is
	//     paid. If the bucket does not exist, it is created, full by c.Limit, and
	//     charged.
	//   - A bucket keeps its limit, since the caller's plan may have changed since the
	//     charge.
	//   - A cost of 0 changes nothing.
	//
	// The error is that of c.Limit.Validate, one about a cost over 1e9 in either
	// direction, [ErrFull], or an error of the back end.
	Adjust(ctx context.Context, c Charge) error
}

// Resetter is a Limiter that can fill a bucket.
type Resetter interface {
	// Reset fills the bucket of (rule, key), as if it had never been charged. The key is
	// what the [KeyFunc] returned, such as "principal:acct_1", or its hash if it has more
	// than 256 bytes.
	Reset(ctx context.Context, rule, key string) error
}

// Registrar is a Limiter that checks the rules of every [New] that uses it.
type Registrar interface {
	// Register returns an error if a rule of this name was registered with another limit.
	// Two unrelated rules would share buckets otherwise. [New] panics with the error.
	Register(rule string, l Limit) error
}

// Charge is a request for units of one bucket. It includes the limit, so that the caller
// of Take can choose one by plan or by route.
type Charge struct {
	Rule  string // the name of the rule; with Key, it identifies the bucket
	Key   string
	Limit Limit
	Cost  int // units, usually 1; 0 only reports what the bucket holds
}

// Validate returns an error if the cost is negative or the limit is not valid.
func (c Charge) Validate() error {
	if c.Cost < 0 {
		return errCost
	}
	return c.Limit.Validate()
}

// validateAdjust is Validate for Adjust.
func (c Charge) validateAdjust() error {
	if c.Cost < -maxUnits || c.Cost > maxUnits {
		return errAdjust
	}
	return c.Limit.Validate()
}

// ErrFull is the error of a limiter that has no room for another bucket: see
// [MemoryOptions].RefuseWhenFull.
var ErrFull = errors.New("ratelimit: no room for another key")
