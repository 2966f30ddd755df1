package idemtest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// A Fault is a mistake in a store.
type Fault struct {
	Name string
	// Case is the case of idempotenttest.Run that finds it.
	Case string
	// Modeled reports whether a random history of the four operations and Sweep shows it, too.
	Modeled bool
	// Wrap returns the store with the mistake.
	Wrap func(s *Reference) idempotent.Store
}

// wrong is a store with other operations.
type wrong struct {
	*Reference
	acquire     func(context.Context, idempotent.Claim) (idempotent.Decision, error)
	renew       func(context.Context, idempotent.Owner, time.Duration) error
	beginEffect func(context.Context, idempotent.Owner) error
	finish      func(context.Context, idempotent.Owner, idempotent.Completion) error
	resolve     func(context.Context, idempotent.ID, idempotent.Completion) error
	wait        func(context.Context, idempotent.ID) error
	sweep       func(context.Context, int) (int, error)
	listUnknown func(context.Context, idempotent.ID, int) ([]idempotent.UnknownRecord, error)
}

func (w *wrong) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	if w.acquire != nil {
		return w.acquire(ctx, c)
	}
	return w.Reference.Acquire(ctx, c)
}

func (w *wrong) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if w.renew != nil {
		return w.renew(ctx, o, d)
	}
	return w.Reference.Renew(ctx, o, d)
}

func (w *wrong) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	if w.beginEffect != nil {
		return w.beginEffect(ctx, o)
	}
	return w.Reference.BeginEffect(ctx, o)
}

func (w *wrong) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if w.finish != nil {
		return w.finish(ctx, o, c)
	}
	return w.Reference.Finish(ctx, o, c)
}

func (w *wrong) Resolve(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
	if w.resolve != nil {
		return w.resolve(ctx, id, c)
	}
	return w.Reference.Resolve(ctx, id, c)
}

func (w *wrong) Wait(ctx context.Context, id idempotent.ID) error {
	if w.wait != nil {
		return w.wait(ctx, id)
	}
	return w.Reference.Wait(ctx, id)
}

func (w *wrong) Sweep(ctx context.Context, limit int) (int, error) {
	if w.sweep != nil {
		return w.sweep(ctx, limit)
	}
	return w.Reference.Sweep(ctx, limit)
}

func (w *wrong) ListUnknown(ctx context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
	if w.listUnknown != nil {
		return w.listUnknown(ctx, after, limit)
	}
	return w.Reference.ListUnknown(ctx, after, limit)
}

// The following functions return stores with one wrong step. The step gets the record, the
// arguments of the operation and the time. It returns the new record and the answer, or false
// for ok to perform the right step.
type (
	acquireStep func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool)
	finishStep  func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (next record, err error, ok bool)
)

func wrongAcquire(f acquireStep) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, acquire: func(_ context.Context, c idempotent.Claim) (d idempotent.Decision, _ error) {
			s.step(c.ID, func(r record, now time.Duration) record {
				next, wrongly, ok := f(r, c, now)
				if !ok {
					next, wrongly = r.acquire(c, now)
				}
				d = wrongly
				return next
			})
			return d, nil
		}}
	}
}

func wrongFinish(f finishStep) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				if next, err, ok := f(r, o, c, now); ok {
					return next, err
				}
				return r.finish(o.Token, c, now)
			})
		}}
	}
}

// wrongClaim and wrongCompletion change the arguments of the caller.
func wrongClaim(f func(c *idempotent.Claim)) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, acquire: func(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
			f(&c)
			return s.Acquire(ctx, c)
		}}
	}
}

func wrongCompletion(f func(c *idempotent.Completion)) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
			f(&c)
			return s.Finish(ctx, o, c)
		}}
	}
}

// wrongOwner changes the owner in every operation.
func wrongOwner(f func(o *idempotent.Owner)) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{
			Reference: s,
			acquire: func(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
				o := c.Owner()
				f(&o)
				c.ID, c.Token = o.ID, o.Token
				return s.Acquire(ctx, c)
			},
			renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
				f(&o)
				return s.Renew(ctx, o, d)
			},
			beginEffect: func(ctx context.Context, o idempotent.Owner) error {
				f(&o)
				return s.BeginEffect(ctx, o)
			},
			finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
				f(&o)
				return s.Finish(ctx, o, c)
			},
		}
	}
}

// blind returns the owner of the running record, so that the caller acts as it.
func (s *Reference) blind(o idempotent.Owner) idempotent.Owner {
	s.step(o.ID, func(r record, _ time.Duration) record {
		if r.running() {
			o.Token = r.Token
		}
		return r
	})
	return o
}

func isLate(r record, now time.Duration) bool { return r.running() && now >= r.LeaseEnd }

var running = idempotent.Decision{Verdict: idempotent.VerdictRunning}

// Faults returns mistakes that stores have had or could have.
func Faults() []Fault {
	return slices.Concat(acquireFaults, inheritFaults, extendFaults, ownerFaults, finishFaults, effectFaults, endUnknownFaults,
		sweepFaults, resolveFaults, listFaults)
}

var acquireFaults = []Fault{
	{"a fingerprint of zeros matches any", "a fingerprint of zeros is valid", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			none := r.Fingerprint == idempotent.Fingerprint{} || c.Fingerprint == idempotent.Fingerprint{}
			c.Fingerprint = r.Fingerprint
			next, d := r.acquire(c, now)
			return next, d, none && r.State != idempotent.StateAbsent
		})},
	{"the fingerprint is not compared while running", "another fingerprint is a mismatch in every state", true,
		wrongAcquire(func(r record, _ idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			return r, running, r.running() && now < r.LeaseEnd
		})},
	{"the fingerprint is compared after the token", "another fingerprint is a mismatch in every state", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt}, r.owned(c.Token)
		})},
	{"the fingerprint is not compared at a takeover", "another fingerprint is a mismatch in every state", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			return next, d, isLate(r, now) && !r.Effect
		})},
	{"only half of the fingerprint is compared", "all bytes of a fingerprint are compared", false,
		wrongClaim(func(c *idempotent.Claim) { clear(c.Fingerprint[16:]) })},
	{"a mismatch renews the lease", "a mismatch changes nothing", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mismatch := r.running() && r.Fingerprint != c.Fingerprint
			r.LeaseEnd = now + c.Lease
			return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch}, mismatch
		})},
	{"a mismatch has LeaseLeft", "another fingerprint is a mismatch in every state", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mismatch := r.running() && r.Fingerprint != c.Fingerprint && now < r.LeaseEnd
			return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch, LeaseLeft: r.LeaseEnd - now}, mismatch
		})},
	{"a repeated Acquire gets VerdictRunning", "a repeated Acquire restarts the lease", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			return r, running, r.owned(c.Token) && r.Fingerprint == c.Fingerprint
		})},
	{"a repeated Acquire does not restart the lease", "a repeated Acquire restarts the lease", true,
		wrongAcquire(func(r record, c idempotent.Claim, _ time.Duration) (record, idempotent.Decision, bool) {
			return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt},
				r.owned(c.Token) && r.Fingerprint == c.Fingerprint
		})},
	{"a repeated Acquire is one more attempt", "one owner repeats Acquire and Finish concurrently", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			return next, d, r.owned(c.Token) && r.Fingerprint == c.Fingerprint
		})},
	{"a repeated Acquire reopens a finished record", "a repeated Acquire does not reopen a finished record", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mine := !r.running() && r.State != idempotent.StateAbsent && r.Token == c.Token && r.Fingerprint == c.Fingerprint
			return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt}, mine
		})},
	{"an attempt is not counted", "each takeover is one more attempt", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := absent.take(c, now)
			return next, d, isLate(r, now) && !r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
		})},
	{"a takeover does not restart the retention", "a takeover restarts the retention", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			next.Expiry = r.Expiry
			return next, d, isLate(r, now) && !r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
		})},
	{"a takeover does not start a lease", "a takeover starts a whole lease", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			next.LeaseEnd = r.LeaseEnd
			return next, d, isLate(r, now) && !r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
		})},
	{"the record expires with its lease", "an abandoned record keeps its fingerprint and attempts", true,
		wrongClaim(func(c *idempotent.Claim) { c.Retention = c.Lease })},
	{"the record expires while its lease lives", "a record does not expire before its lease is over", true,
		wrongClaim(func(c *idempotent.Claim) { c.Lease = min(c.Lease, c.Retention) })},
	{"the scope decides which record is found", "the scope does not decide which record is found", false,
		wrongClaim(func(c *idempotent.Claim) { c.ID[0] ^= c.Scope[0] ^ 's' })},
	{"a replay extends the retention", "a replay does not extend the retention", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			replay := r.State == idempotent.StateDone && r.Fingerprint == c.Fingerprint
			r.Expiry = now + c.Retention
			return r, idempotent.Decision{Verdict: idempotent.VerdictDone, Response: r.Response}, replay
		})},
	{"it reads and writes in two steps", "only one of many concurrent claims acquires", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, acquire: func(_ context.Context, c idempotent.Claim) (d idempotent.Decision, _ error) {
			var next record
			s.step(c.ID, func(r record, now time.Duration) record {
				next, d = r.acquire(c, now)
				return r
			})
			s.Pause()
			s.step(c.ID, func(record, time.Duration) record { return next })
			return d, nil
		}}
	}},
	{"a canceled call returns ErrLost", "a canceled call takes effect completely or not at all", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			if ctx.Err() != nil {
				return idempotent.ErrLost
			}
			return s.Renew(ctx, o, d)
		}}
	}},
}

// inherits returns a store whose new records inherit something from an expired one, as after an
// update that forgets a column.
func inherits(keep func(next *record, over record)) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, acquire: func(_ context.Context, c idempotent.Claim) (d idempotent.Decision, _ error) {
			s.step(c.ID, func(r record, now time.Duration) record {
				r, d = r.acquire(c, now)
				if b, ok := s.records[c.ID]; ok && decode(b).at(now).State == idempotent.StateAbsent {
					keep(&r, decode(b))
					d.Attempt = r.Attempt
				}
				return r
			})
			return d, nil
		}}
	}
}

const inheritCase = "a new record inherits nothing from an expired one"

var inheritFaults = []Fault{
	{"a new record inherits the effect", inheritCase, true,
		inherits(func(next *record, over record) { next.Effect = over.Effect })},
	{"a new record inherits the attempts", inheritCase, true,
		inherits(func(next *record, over record) { next.Attempt += over.Attempt })},
	{"a new record inherits the fingerprint", inheritCase, true,
		inherits(func(next *record, over record) { next.Fingerprint = over.Fingerprint })},
	{"a new record inherits the token", inheritCase, true,
		inherits(func(next *record, over record) { next.Token = over.Token })},
	{"a new record inherits the end of the lease", inheritCase, true,
		inherits(func(next *record, over record) { next.LeaseEnd = over.LeaseEnd })},
	{"a new record inherits the end of the retention", inheritCase, true,
		inherits(func(next *record, over record) { next.Expiry = over.Expiry })},
	{"a new record inherits the scope", "ListUnknown returns nothing of an expired record with the same ID", false,
		inherits(func(next *record, over record) { next.Scope = over.Scope })},
}

// extends returns a store whose Acquire changes the retention.
func extends(f func(r record, c idempotent.Claim, now time.Duration) (record, bool)) func(*Reference) idempotent.Store {
	return wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
		prolonged, ok := f(r, c, now)
		next, d := prolonged.acquire(c, now)
		return next, d, ok && r.State != idempotent.StateAbsent && r.Fingerprint == c.Fingerprint
	})
}

const extendCase = "only a takeover and a Finish restart the retention"

var extendFaults = []Fault{
	{"a repeated Acquire extends the retention", extendCase, true,
		extends(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, r.owned(c.Token)
		})},
	{"a repeated Acquire shortens the retention", "a repeated Acquire does not shorten the retention", false,
		extends(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = min(r.Expiry, now+c.Retention)
			return r, r.owned(c.Token)
		})},
	{"a duplicate extends the retention", extendCase, true,
		extends(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, r.running() && r.Token != c.Token && now < r.LeaseEnd
		})},
	{"a duplicate extends the retention of a record after its lease", extendCase, true,
		extends(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, isLate(r, now) && r.Effect && r.Token != c.Token
		})},
	{"a duplicate extends the retention of an unknown record", extendCase, true,
		extends(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, r.State == idempotent.StateUnknown
		})},
	{"Renew extends the retention", extendCase, true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				next, err := r.renew(o.Token, d, now)
				if err == nil {
					next.Expiry = now + time.Hour
				}
				return next, err
			})
		}}
	}},
	{"BeginEffect extends the retention", extendCase, true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				next, err := r.beginEffect(o.Token)
				if err == nil {
					next.Expiry = now + time.Hour
				}
				return next, err
			})
		}}
	}},
}

var ownerFaults = []Fault{
	{"a token of zeros owns nothing", "IDs and tokens may hold any bytes", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			if o.Token == (idempotent.Token{}) {
				return idempotent.ErrLost
			}
			return s.Renew(ctx, o, d)
		}}
	}},
	{"only half of the ID is used", "records with different IDs are independent", false,
		wrongOwner(func(o *idempotent.Owner) { clear(o.ID[16:]) })},
	{"only half of the token is compared", "another token changes nothing", false,
		wrongOwner(func(o *idempotent.Owner) { clear(o.Token[8:]) })},
	{"the ID ends at a zero byte", "IDs and tokens may hold any bytes", false,
		wrongOwner(func(o *idempotent.Owner) {
			if i := bytes.IndexByte(o.ID[:], 0); i >= 0 {
				clear(o.ID[i:])
				o.Token = idempotent.Token{}
			}
		})},
	{"Renew does not compare the token", "another token changes nothing", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.Renew(ctx, s.blind(o), d)
		}}
	}},
	{"Renew needs a live lease", "an owner who was not replaced can renew after the lease", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				if isLate(r, now) {
					return r, idempotent.ErrLost
				}
				return r.renew(o.Token, d, now)
			})
		}}
	}},
	{"Renew adds to the lease", "a renewal counts from now", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) { return r.renew(o.Token, d, r.LeaseEnd) })
		}}
	}},
	{"Renew never shortens", "a renewal may shorten the lease", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				return r.renew(o.Token, max(d, r.LeaseEnd-now), now)
			})
		}}
	}},
	{"a renewed record expires with its retention", "a renewed record outlives its retention", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				return r.renew(o.Token, min(d, r.Expiry-now), now)
			})
		}}
	}},
}
