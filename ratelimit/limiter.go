package ratelimit

import (
	"context"
	"errors"
)

// Limiter decides about charges. It is safe for concurrent use. Package ratelimittest tests
// implementations.
type Limiter interface {
	// Take takes c.Cost units from the bucket of (c.Rule, c.Key) in one atomic step. If
	// the bucket holds fewer units, Take takes none. A bucket that was never charged is
	// full.
	//
	//   - A cost of 0 is always allowed. It does not change or create a bucket.
	//   - A cost over the burst is denied, with a RetryAfter of 0. It does not change or
	//     create a bucket.
	//   - If c.Limit differs from the bucket's limit, it becomes the bucket's limit, even
	//     if the charge is denied, since RetryAfter depends on it. The units in the
	//     bucket stay, up to the new Burst.
	//   - A bucket may be forgotten when it is full by every limit that it has had since
	//     it was created. If only the last limit counted, a caller with two limits could
	//     drain a bucket under the large one and refill it under the small one.
	//
	// The error is the one of c.Validate, [ErrFull], or an error of the back end. It is
	// logged, so it must not contain the key. The context is the context of the request.
	// If Take asks another machine, it should use a shorter timeout.
	Take(ctx context.Context, c Charge) (Decision, error)
}

// MultiLimiter is a Limiter that can charge several buckets in one atomic step.
type MultiLimiter interface {
	Limiter

	// TakeAll makes all charges, in one atomic step. If any of them is denied, it makes
	// none. It sets into[i] to the decision about charges[i], as if that were the only
	// charge. It returns an error if the slices have different lengths or if two charges
	// are to the same bucket. It does not keep the slices. After an error, nothing has
	// been charged, unless only the back end's reply was lost, and the contents of into
	// have no meaning.
	TakeAll(ctx context.Context, charges []Charge, into []Decision) error
}

// Adjuster is a Limiter that can correct a charge when the real cost is known: see [Settle].
type Adjuster interface {
	// Adjust takes c.Cost units from the bucket of (c.Rule, c.Key), or gives them back if
	// c.Cost is negative, in one atomic step that is never denied.
	//
	//   - Giving back never fills a bucket above its burst. It does not create a bucket.
	//   - Taking may put the bucket into debt: it then admits nothing until the debt is
	//     paid. If the bucket does not exist, it is created as a full bucket of c.Limit,
	//     and then charged.
	//   - A bucket keeps its limit, because the caller's plan may have changed after the
	//     charge.
	//   - A cost of 0 changes nothing.
	//
	// The error is the one of c.Limit.Validate, [ErrFull], or an error of the back end. A
	// cost below -1e9 or above 1e9 is an error too.
	Adjust(ctx context.Context, c Charge) error
}

// Resetter is a Limiter that can fill a bucket.
type Resetter interface {
	// Reset fills the bucket of (rule, key), as if it had never been charged. The key is
	// the result of the [KeyFunc], such as "principal:acct_1". The hash takes its place
	// if the key is longer than 256 bytes.
	Reset(ctx context.Context, rule, key string) error
}

// Registrar is a Limiter that checks the rules of every [New] that uses it.
type Registrar interface {
	// Register returns an error if a rule of this name is already registered with another
	// limit. Without this check, two unrelated rules could share buckets by mistake. [New]
	// panics with the error.
	Register(rule string, l Limit) error
}

// Charge is a request for units of one bucket. It includes the limit, so that the caller
// of Take can choose a limit by plan or by route.
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

// needsBucket reports whether the charge can change a bucket.
func (c Charge) needsBucket() bool { return c.Cost > 0 && c.Cost <= c.Limit.burst() }

// ErrFull is the error of a limiter that has no room for another bucket: see
// [MemoryOptions].RefuseWhenFull.
var ErrFull = errors.New("ratelimit: no room for another key")
