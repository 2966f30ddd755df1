package idemtest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// A Fault is a mistake in a store.
type Fault struct {
	Name string
	// Case is the case of idempotenttest.Run that finds it.
	Case string
	// Modeled says that a random history of the four operations and Sweep shows it too.
	Modeled bool
	// Wrap returns the store with the mistake.
	Wrap func(s *Reference) idempotent.Store
}

// wrong is a store whose operations may be replaced.
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

// The following make faults out of one wrong step. The step gets the record, the operation's
// arguments and the time, and returns what it leaves and answers; ok is false to do what is right.
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

// wrongClaim and wrongCompletion change what the caller says.
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

// wrongOwner changes whom the store takes for the caller, in every operation.
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

// blind lets an operation believe that the caller owns what is running.
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

// Faults returns the mistakes. Each is one that stores have had, or could have.
func Faults() []Fault {
	return slices.Concat(acquireFaults, inheritFaults, prolongFaults, ownerFaults, finishFaults, effectFaults, settleFaults,
		sweepFaults, resolveFaults, listFaults)
}

var acquireFaults = []Fault{
	{"a fingerprint of zeros is none", "a fingerprint of zeros is one like any other", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			none := r.Fingerprint == idempotent.Fingerprint{} || c.Fingerprint == idempotent.Fingerprint{}
			c.Fingerprint = r.Fingerprint
			next, d := r.acquire(c, now)
			return next, d, none && r.State != idempotent.StateAbsent
		})},
	{"the fingerprint is not compared while running", "a mismatch in every state", true,
		wrongAcquire(func(r record, _ idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			return r, running, r.running() && now < r.LeaseEnd
		})},
	{"the fingerprint is compared after the token", "a mismatch in every state", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt}, r.owned(c.Token)
		})},
	{"the fingerprint is not compared at a takeover", "a mismatch in every state", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			return next, d, isLate(r, now) && !r.Effect
		})},
	{"half of the fingerprint is compared", "fingerprints are compared whole", false,
		wrongClaim(func(c *idempotent.Claim) { clear(c.Fingerprint[16:]) })},
	{"a mismatch renews the lease", "a mismatch changes nothing", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mismatch := r.running() && r.Fingerprint != c.Fingerprint
			r.LeaseEnd = now + c.Lease
			return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch}, mismatch
		})},
	{"a mismatch tells what is left of the lease", "a mismatch in every state", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mismatch := r.running() && r.Fingerprint != c.Fingerprint && now < r.LeaseEnd
			return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch, LeaseLeft: r.LeaseEnd - now}, mismatch
		})},
	{"the caller's own token is refused", "Acquire can be repeated, and the lease starts anew", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			return r, running, r.owned(c.Token) && r.Fingerprint == c.Fingerprint
		})},
	{"the caller's own token does not renew the lease", "Acquire can be repeated, and the lease starts anew", true,
		wrongAcquire(func(r record, c idempotent.Claim, _ time.Duration) (record, idempotent.Decision, bool) {
			return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt},
				r.owned(c.Token) && r.Fingerprint == c.Fingerprint
		})},
	{"the caller's own token is an attempt", "many repetitions by one owner", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			return next, d, r.owned(c.Token) && r.Fingerprint == c.Fingerprint
		})},
	{"the caller's own token revives a finished record", "a repeated Acquire brings no finished record back to life", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mine := !r.running() && r.State != idempotent.StateAbsent && r.Token == c.Token && r.Fingerprint == c.Fingerprint
			return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt}, mine
		})},
	{"an attempt is not counted", "every takeover counts", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := absent.take(c, now)
			return next, d, isLate(r, now) && !r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
		})},
	{"a takeover gets what is left of the retention", "a takeover starts the retention anew", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			next.Expiry = r.Expiry
			return next, d, isLate(r, now) && !r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
		})},
	{"a takeover gets no lease", "a takeover starts a whole lease", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.take(c, now)
			next.LeaseEnd = r.LeaseEnd
			return next, d, isLate(r, now) && !r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
		})},
	{"the lease is the record's life", "an abandoned record remembers its fingerprint and attempts", true,
		wrongClaim(func(c *idempotent.Claim) { c.Retention = c.Lease })},
	{"the record's life is the retention, whatever the lease", "no record ends before its lease does", true,
		wrongClaim(func(c *idempotent.Claim) { c.Lease = min(c.Lease, c.Retention) })},
	{"the scope decides which record is found", "the scope does not decide which record is found", false,
		wrongClaim(func(c *idempotent.Claim) { c.ID[0] ^= c.Scope[0] ^ 's' })},
	{"a replay prolongs the record", "a replay does not prolong", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			replay := r.State == idempotent.StateDone && r.Fingerprint == c.Fingerprint
			r.Expiry = now + c.Retention
			return r, idempotent.Decision{Verdict: idempotent.VerdictDone, Response: r.Response}, replay
		})},
	{"it reads in one step and writes in another", "one of many acquires", true, func(s *Reference) idempotent.Store {
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
	{"a canceled call has lost", "a canceled context leaves no half", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			if ctx.Err() != nil {
				return idempotent.ErrLost
			}
			return s.Renew(ctx, o, d)
		}}
	}},
}

// inherits is a store in which a new record has something of one that is over and was not removed,
// as after an update that forgets a column.
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

const inheritCase = "a new record inherits nothing of one that is over"

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
	{"a new record inherits the scope", "ListUnknown tells nothing of a record that was over", false,
		inherits(func(next *record, over record) { next.Scope = over.Scope })},
}

// prolongs is a store in which a step on a record changes its retention.
func prolongs(f func(r record, c idempotent.Claim, now time.Duration) (record, bool)) func(*Reference) idempotent.Store {
	return wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
		prolonged, ok := f(r, c, now)
		next, d := prolonged.acquire(c, now)
		return next, d, ok && r.State != idempotent.StateAbsent && r.Fingerprint == c.Fingerprint
	})
}

const prolongCase = "nothing but a takeover and a Finish starts the retention anew"

var prolongFaults = []Fault{
	{"the caller's own token prolongs the record", prolongCase, true,
		prolongs(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, r.owned(c.Token)
		})},
	{"the caller's own token shortens the record", "a repeated Acquire does not shorten the retention", false,
		prolongs(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = min(r.Expiry, now+c.Retention)
			return r, r.owned(c.Token)
		})},
	{"a duplicate prolongs the record", prolongCase, true,
		prolongs(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, r.running() && r.Token != c.Token && now < r.LeaseEnd
		})},
	{"a duplicate prolongs what is overdue", prolongCase, true,
		prolongs(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, isLate(r, now) && r.Effect && r.Token != c.Token
		})},
	{"a duplicate prolongs what is unknown", prolongCase, true,
		prolongs(func(r record, c idempotent.Claim, now time.Duration) (record, bool) {
			r.Expiry = now + c.Retention
			return r, r.State == idempotent.StateUnknown
		})},
	{"Renew prolongs the record", prolongCase, true, func(s *Reference) idempotent.Store {
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
	{"BeginEffect prolongs the record", prolongCase, true, func(s *Reference) idempotent.Store {
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
	{"half of the ID is used", "records of different IDs are apart", false,
		wrongOwner(func(o *idempotent.Owner) { clear(o.ID[16:]) })},
	{"half of the token is compared", "a stranger changes nothing", false,
		wrongOwner(func(o *idempotent.Owner) { clear(o.Token[8:]) })},
	{"the ID ends at a zero byte", "IDs and tokens may hold any bytes", false,
		wrongOwner(func(o *idempotent.Owner) {
			if i := bytes.IndexByte(o.ID[:], 0); i >= 0 {
				clear(o.ID[i:])
				o.Token = idempotent.Token{}
			}
		})},
	{"Renew does not compare the token", "a stranger changes nothing", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.Renew(ctx, s.blind(o), d)
		}}
	}},
	{"Renew needs a live lease", "a late owner whom nobody replaced can renew", true, func(s *Reference) idempotent.Store {
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
	{"a renewed record ends with its retention", "a renewed record outlives its retention", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, renew: func(ctx context.Context, o idempotent.Owner, d time.Duration) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				return r.renew(o.Token, min(d, r.Expiry-now), now)
			})
		}}
	}},
}

var finishFaults = []Fault{
	{"Finish does not compare the token", "after a takeover the former owner has lost", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
			return s.Finish(ctx, s.blind(o), c)
		}}
	}},
	{"Finish needs a live lease", "a late owner whom nobody replaced can finish", true,
		wrongFinish(func(r record, _ idempotent.Owner, _ idempotent.Completion, now time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, isLate(r, now)
		})},
	{"a repeated Finish is lost", "Finish can be repeated", true,
		wrongFinish(func(r record, _ idempotent.Owner, _ idempotent.Completion, _ time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, !r.running() && r.State != idempotent.StateAbsent
		})},
	{"a repeated release is lost", "Finish can be repeated", true,
		wrongFinish(func(r record, _ idempotent.Owner, _ idempotent.Completion, _ time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, r.State == idempotent.StateAbsent
		})},
	{"the last Finish counts", "the first Finish counts", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			again := !r.running() && r.State != idempotent.StateAbsent && r.Token == o.Token
			if c.State == idempotent.StateAbsent {
				return absent, nil, again
			}
			return r.end(c, now), nil, again
		})},
	{"a repeated Finish prolongs the record", "a repeated Finish does not prolong", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			again := !r.running() && r.State != idempotent.StateAbsent && r.Token == o.Token
			r.Expiry = now + c.Retention
			return r, nil, again
		})},
	{"a Finish makes a record where none is", "nothing changes that was never acquired", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			r.Token = o.Token
			return r.end(c, now), nil, r.State == idempotent.StateAbsent && c.State != idempotent.StateAbsent
		})},
	{"the claim's retention counts for the finished record", "the completion's retention counts", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			next, err := r.finish(o.Token, c, now)
			next.Expiry = r.Expiry
			return next, err, r.owned(o.Token) && next.State != idempotent.StateAbsent
		})},
	{"a completion that is none is taken", "an invalid completion is an error and changes nothing", false,
		wrongCompletion(func(c *idempotent.Completion) {
			if c.State != idempotent.StateAbsent && !leavesRecord(c.State) {
				c.State = idempotent.StateDone
			}
		})},
	{"a response is cut at 64 KiB", "a response comes back byte for byte", false,
		wrongCompletion(func(c *idempotent.Completion) { c.Response = c.Response[:min(len(c.Response), 1<<16)] })},
	{"a response is text", "a response comes back byte for byte", false,
		wrongCompletion(func(c *idempotent.Completion) { c.Response = bytes.ToValidUTF8(c.Response, nil) })},
	{"a response is trimmed", "a response comes back byte for byte", false,
		wrongCompletion(func(c *idempotent.Completion) { c.Response = bytes.Trim(c.Response, " \x00") })},
	{"a response that is not kept leaves nothing", "a response that is not kept says what it was", true,
		wrongCompletion(func(c *idempotent.Completion) {
			if c.State == idempotent.StateNotKept {
				c.Response = nil
			}
		})},
	{"a response that is not kept is done", "the first Finish counts", true,
		wrongCompletion(func(c *idempotent.Completion) {
			if c.State == idempotent.StateNotKept {
				c.State = idempotent.StateDone
			}
		})},
}

var effectFaults = []Fault{
	{"a takeover ignores the effect", "it is unknown once the lease is over", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) {
				_, err := r.beginEffect(o.Token)
				return r, err
			})
		}}
	}},
	{"an effect is forgotten at the next Acquire", "the owner's repeated Acquire finds it", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.acquire(c, now)
			next.Effect = false
			return next, d, r.owned(c.Token)
		})},
	{"unknown without an effect stays", "unknown without an effect is absent", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			return r.end(c, now), nil, r.owned(o.Token) && c.State == idempotent.StateUnknown
		})},
	{"a repeated unknown without an effect is lost", "unknown without an effect is absent", true,
		wrongFinish(func(r record, _ idempotent.Owner, c idempotent.Completion, _ time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, r.State == idempotent.StateAbsent && c.State == idempotent.StateUnknown
		})},
	{"an effect cannot be released", "an owner who knows that nothing was done can release", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			c.Retention = time.Hour
			unknown := c.State == idempotent.StateAbsent && r.owned(o.Token) && r.Effect
			c.State = idempotent.StateUnknown
			return r.end(c, now), nil, unknown
		})},
	{"a released effect comes back", "a new record has no effect", true, func(s *Reference) idempotent.Store {
		begun := map[idempotent.ID]bool{}
		return &wrong{
			Reference: s,
			acquire: func(_ context.Context, c idempotent.Claim) (d idempotent.Decision, _ error) {
				s.step(c.ID, func(r record, now time.Duration) record {
					r, d = r.acquire(c, now)
					r.Effect = r.Effect || r.running() && begun[c.ID]
					return r
				})
				return d, nil
			},
			beginEffect: func(ctx context.Context, o idempotent.Owner) error {
				return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) {
					r, err := r.beginEffect(o.Token)
					begun[o.ID] = begun[o.ID] || err == nil
					return r, err
				})
			},
		}
	}},
	{"BeginEffect renews the lease", "BeginEffect does not renew the lease", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				r, err := r.beginEffect(o.Token)
				if err == nil {
					r.LeaseEnd = now + time.Minute
				}
				return r, err
			})
		}}
	}},
	{"a second BeginEffect is lost", "Renew and BeginEffect can be repeated", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) {
				if r.Effect {
					return r, idempotent.ErrLost
				}
				return r.beginEffect(o.Token)
			})
		}}
	}},
	{"BeginEffect does not compare the token", "a former owner's effect has lost", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.BeginEffect(ctx, s.blind(o))
		}}
	}},
	{"BeginEffect needs a live lease", "a late owner whom nobody replaced can begin an effect", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				if isLate(r, now) {
					return r, idempotent.ErrLost
				}
				return r.beginEffect(o.Token)
			})
		}}
	}},
	{"unknown is stored when a claim finds it", "the owner can still finish what is unknown", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			found := isLate(r, now) && r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
			r.State = idempotent.StateUnknown
			return r, idempotent.Decision{Verdict: idempotent.VerdictUnknown}, found
		})},
}

// settle stores what is overdue as unknown, and so takes it from its owner.
func (s *Reference) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id := range s.records {
		if r := s.load(id, now); r.unknown(now) {
			r.State = idempotent.StateUnknown
			s.save(id, r)
		}
	}
}

var settleFaults = []Fault{
	{"a mismatch stores what is unknown", "a mismatch does not settle what is unknown", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mismatch := isLate(r, now) && r.Effect && r.Fingerprint != c.Fingerprint
			r.State = idempotent.StateUnknown
			return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch}, mismatch
		})},
	{"Sweep stores what is unknown", "Sweep does not settle what is unknown", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, limit int) (int, error) {
			s.settle()
			return s.Sweep(ctx, limit)
		}}
	}},
	{"ListUnknown stores what is unknown", "ListUnknown does not settle what is unknown", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			s.settle()
			return page(s.all(live), after, limit)
		})},
	{"Wait stores what is unknown", "Wait does not settle what is unknown", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			s.settle()
			return s.Wait(ctx, id)
		}}
	}},
	{"a refused Resolve stores what is unknown", "a Resolve that is refused settles nothing", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, resolve: func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
			s.settle()
			return s.Resolve(ctx, id, c)
		}}
	}},
}

var sweepFaults = []Fault{
	{"Sweep removes one if there is no limit", "Sweep without a limit removes all", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, limit int) (int, error) { return s.Sweep(ctx, max(limit, 1)) }}
	}},
	{"Sweep has a limit of 100 if there is none", "Sweep without a limit removes all", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, limit int) (int, error) {
			if limit == 0 {
				limit = 100
			}
			return s.Sweep(ctx, limit)
		}}
	}},
	{"Finish wakes nobody", "Wait returns once the record stops running", false, deaf(false)},
	{"Resolve wakes nobody", "Wait returns once Resolve has settled the record", false, deaf(true)},
	{"Sweep removes what is running", "Sweep removes what is over and nothing else", true, func(s *Reference) idempotent.Store {
		return sweepsIf(s, func(r record, now time.Duration) bool { return now >= r.Expiry })
	}},
	{"Sweep removes what can be taken over", "Sweep removes what is over and nothing else", true, func(s *Reference) idempotent.Store {
		return sweepsIf(s, func(r record, now time.Duration) bool { return now >= r.Expiry || isLate(r, now) })
	}},
	{"Sweep removes what is unknown", "Sweep removes what is over and nothing else", true, func(s *Reference) idempotent.Store {
		return sweepsIf(s, func(r record, now time.Duration) bool { return now >= r.Expiry || r.unknown(now) })
	}},
	{"Sweep knows no limit", "Sweep removes what is over and nothing else", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, _ int) (int, error) { return s.Sweep(ctx, 0) }}
	}},
	{"Sweep does nothing", "Sweep removes what is over and nothing else", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(context.Context, int) (int, error) { return 0, nil }}
	}},
	{"Sweep removes what was over a moment ago", "Sweep against those who acquire anew", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(context.Context, int) (int, error) {
			var over []idempotent.ID
			s.mu.Lock()
			for id := range s.records {
				if s.load(id, s.now()).State == idempotent.StateAbsent {
					over = append(over, id)
				}
			}
			s.mu.Unlock()
			s.Pause()
			for _, id := range over {
				s.step(id, func(record, time.Duration) record { return absent })
			}
			return min(len(over), 10), nil
		}}
	}},
	{"Wait misses what is released", "Wait returns once the record stops running", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			for {
				if err := s.Wait(ctx, id); err != nil {
					return err
				}
				finished := false
				s.step(id, func(r record, _ time.Duration) record {
					finished = r.State != idempotent.StateAbsent
					return r
				})
				if finished {
					return nil
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
		}}
	}},
	{"Wait does not end with its context", "Wait ends with its context", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			return s.Wait(context.WithoutCancel(ctx), id)
		}}
	}},
}

// sweepsIf is a store that sweeps by another condition, atomically.
func sweepsIf(s *Reference, over func(r record, now time.Duration) bool) idempotent.Store {
	return &wrong{Reference: s, sweep: func(_ context.Context, limit int) (removed int, _ error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		now := s.now()
		for id, b := range s.records {
			if over(decode(b), now) && (limit == 0 || removed < limit) {
				delete(s.records, id)
				removed++
			}
		}
		return removed, nil
	}}
}

// wrongResolve is a store with another step for Resolve; ok is false to do what is right.
func wrongResolve(f func(r record, c idempotent.Completion, now time.Duration) (next record, ok bool)) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, resolve: func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
			return s.change(ctx, id, func(r record, now time.Duration) (record, error) {
				if next, ok := f(r, c, now); ok {
					return next, nil
				}
				return r.resolve(c, now)
			})
		}}
	}
}

// deaf is a store whose waiters do not notice the end of a run by Resolve, or else by Finish. That
// operation goes on once somebody waits, so that the mistake shows each time.
func deaf(toResolve bool) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		waits := make(chan struct{})
		var once sync.Once
		w := &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			runs := false
			s.step(id, func(r record, _ time.Duration) record {
				runs = r.running()
				return r
			})
			if !runs {
				return nil
			}
			once.Do(func() { close(waits) })
			<-ctx.Done()
			return ctx.Err()
		}}
		if toResolve {
			w.resolve = func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
				<-waits
				return s.Resolve(ctx, id, c)
			}
		} else {
			w.finish = func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
				<-waits
				return s.Finish(ctx, o, c)
			}
		}
		return w
	}
}

var resolveFaults = []Fault{
	{"after Resolve the record is the zero token's", "what was resolved is nobody's, whatever the token", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			next, err := r.resolve(c, now)
			next.Token, next.Ownerless = idempotent.Token{}, false
			return next, err == nil && next.State != idempotent.StateAbsent
		})},
	{"Resolve settles what is running", "Resolve touches nothing else", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), r.running() && r.Effect
		})},
	{"Resolve settles what has no effect", "Resolve touches nothing else", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), isLate(r, now)
		})},
	{"Resolve settles what is done", "Resolve touches nothing else", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), r.State == idempotent.StateDone
		})},
	{"Resolve of nothing succeeds", "Resolve touches nothing else", false,
		wrongResolve(func(r record, _ idempotent.Completion, _ time.Duration) (record, bool) {
			return r, r.State == idempotent.StateAbsent
		})},
	{"Resolve waits for the owner", "Resolve settles what is unknown", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, resolve: func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
			return s.change(ctx, id, func(r record, now time.Duration) (record, error) {
				if r.running() {
					return r, idempotent.ErrNotUnknown
				}
				return r.resolve(c, now)
			})
		}}
	}},
	{"after Resolve the owner can finish", "after Resolve the owner has lost", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			next, err := r.resolve(c, now)
			next.Ownerless = false
			return next, err == nil && next.State != idempotent.StateAbsent
		})},
	{"Resolve takes any completion", "an invalid resolution is an error and changes nothing", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), r.unknown(now) && c.State == idempotent.StateUnknown
		})},
	{"what was resolved is kept for the claim's retention", "what was resolved is kept for its retention, with its fingerprint", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			next, err := r.resolve(c, now)
			next.Expiry = r.Expiry
			return next, err == nil && next.State != idempotent.StateAbsent
		})},
	{"what was resolved has no fingerprint", "what was resolved is kept for its retention, with its fingerprint", false,
		func(s *Reference) idempotent.Store {
			w := wrongAcquire(func(r record, _ idempotent.Claim, _ time.Duration) (record, idempotent.Decision, bool) {
				return r, idempotent.Decision{Verdict: idempotent.VerdictDone, Response: r.Response},
					r.State == idempotent.StateDone && r.Ownerless
			})
			return w(s)
		}},
}

// wrongList is a store with another ListUnknown, which is made of the right one.
func wrongList(f func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, listUnknown: func(_ context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
			return f(s, after, limit), nil
		}}
	}
}

// all returns what ListUnknown lists, or would list if unknown meant something else.
func (s *Reference) all(unknown func(r record, now time.Duration) bool) (list []idempotent.UnknownRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id, b := range s.records {
		if r := decode(b); unknown(r, now) {
			list = append(list, idempotent.UnknownRecord{ID: id, Scope: r.Scope, Attempt: r.Attempt, Left: r.Expiry - now})
		}
	}
	slices.SortFunc(list, func(a, b idempotent.UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list
}

// page is what is right of a list.
func page(list []idempotent.UnknownRecord, after idempotent.ID, limit int) []idempotent.UnknownRecord {
	list = slices.DeleteFunc(list, func(u idempotent.UnknownRecord) bool { return bytes.Compare(u.ID[:], after[:]) <= 0 })
	return firstOf(list, limit)
}

// firstOf is the beginning of a list. A limit of 0 is no limit.
func firstOf(list []idempotent.UnknownRecord, limit int) []idempotent.UnknownRecord {
	if limit == 0 {
		return list
	}
	return list[:min(limit, len(list))]
}

func live(r record, now time.Duration) bool { return r.at(now).unknown(now) }

var listFaults = []Fault{
	{"ListUnknown lists nothing if there is no limit", "ListUnknown without a limit lists all", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, 0)
			return list[:min(limit, len(list))]
		})},
	{"ListUnknown has a limit of 100 if there is none", "ListUnknown without a limit lists all", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			if limit == 0 {
				limit = 100
			}
			return page(s.all(live), after, limit)
		})},
	{"ListUnknown begins anew if there is no limit", "ListUnknown without a limit lists all", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			if limit == 0 {
				after = idempotent.ID{}
			}
			return page(s.all(live), after, limit)
		})},
	{"ListUnknown misses what is running", "ListUnknown lists what is unknown and nothing else", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return live(r, now) && !r.running() }), after, limit)
		})},
	{"ListUnknown lists what still runs", "ListUnknown lists what is unknown and nothing else", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return live(r, now) || r.running() && r.Effect }), after, limit)
		})},
	{"ListUnknown lists what was abandoned", "ListUnknown lists what is unknown and nothing else", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return live(r, now) || isLate(r, now) }), after, limit)
		})},
	{"ListUnknown lists what is over", "ListUnknown lists what is unknown and nothing else", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return r.unknown(now) }), after, limit)
		})},
	{"ListUnknown knows no limit", "ListUnknown goes from page to page in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, _ int) []idempotent.UnknownRecord {
			return page(s.all(live), after, 1000)
		})},
	{"ListUnknown begins with the last one", "ListUnknown goes from page to page in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := s.all(live)
			list = slices.DeleteFunc(list, func(u idempotent.UnknownRecord) bool { return bytes.Compare(u.ID[:], after[:]) < 0 })
			return firstOf(list, limit)
		})},
	{"ListUnknown takes bytes for signed", "ListUnknown goes from page to page in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			signed := func(id idempotent.ID) int { return int(int8(id[0])) }
			list := s.all(live)
			slices.SortStableFunc(list, func(a, b idempotent.UnknownRecord) int { return signed(a.ID) - signed(b.ID) })
			list = slices.DeleteFunc(list, func(u idempotent.UnknownRecord) bool {
				return after != idempotent.ID{} && (signed(u.ID) < signed(after) ||
					signed(u.ID) == signed(after) && bytes.Compare(u.ID[:], after[:]) <= 0)
			})
			return firstOf(list, limit)
		})},
	{"ListUnknown cuts the page before it sorts", "ListUnknown goes from page to page in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, 1000)
			if limit == 0 {
				return list
			}
			return slices.Clone(list[max(0, len(list)-limit):])
		})},
	{"ListUnknown has no scope", "ListUnknown lists what is unknown and nothing else", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, limit)
			for i := range list {
				list[i].Scope = idempotent.ID{}
			}
			return list
		})},
	{"ListUnknown has no time left", "ListUnknown lists what is unknown and nothing else", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, limit)
			for i := range list {
				list[i].Left = 0
			}
			return list
		})},
}
