package ratelimit

import (
	"context"
	"errors"
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

// ErrFull is the error of a limiter that has no room for another bucket: see
// [MemoryOptions].RefuseWhenFull.
var ErrFull = errors.New("ratelimit: no room for another key")
