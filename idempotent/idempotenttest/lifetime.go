package idempotenttest

import (
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// effects: after BeginEffect no one takes over.
var effects = []testCase{
	{"a record is running after BeginEffect", func(f *fixture) {
		c := f.begin()
		f.want(rival(c), idempotent.VerdictRunning)
		f.wantAcquired(c, 1)
		f.ok("Renew", f.renew(c))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantCompletion(c, done("response"))
	}},
	{"BeginEffect does not renew the lease", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.ok("BeginEffect", f.beginEffect(c))
		f.advance(2 * slack)
		f.want(rival(c), idempotent.VerdictUnknown)
	}},
	{"after BeginEffect a record is unknown once its lease is over", func(f *fixture) {
		c := f.begin()
		f.advance(lease + slack)
		for range 3 {
			f.want(rival(c), idempotent.VerdictUnknown)
			f.advance(lease)
		}
	}},
	{"the owner can finish an unknown record", func(f *fixture) {
		for _, o := range completions() {
			c := f.begin()
			f.advance(lease + slack)
			f.want(rival(c), idempotent.VerdictUnknown)
			f.ok("Finish", f.finish(c, o))
			f.wantCompletion(c, o)
		}
	}},
	{"the owner can renew an unknown record", func(f *fixture) {
		c := f.begin()
		f.advance(lease + slack)
		f.want(rival(c), idempotent.VerdictUnknown)
		f.ok("Renew", f.renew(c))
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"a mismatch does not end an unknown record", func(f *fixture) {
		f.wantOwnerGoesOn(func(c idempotent.Claim) { f.want(other(c), idempotent.VerdictMismatch) })
	}},
	{"the owner can acquire an unknown record again", func(f *fixture) {
		c := f.begin()
		f.advance(lease + slack)
		f.wantAcquired(c, 1)
		f.want(rival(c), idempotent.VerdictRunning)
		f.advance(lease + slack)
		f.want(rival(c), idempotent.VerdictUnknown)
	}},
	{"an owner who was not replaced can begin an effect after the lease", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		f.ok("BeginEffect", f.beginEffect(c))
		f.want(rival(c), idempotent.VerdictUnknown)
	}},
	{"StateUnknown without an effect removes the record", func(f *fixture) {
		for _, after := range []time.Duration{0, lease + slack} {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(after)
			for range 3 {
				f.ok("Finish", f.finish(c, unknown))
			}
			f.lost("Finish", f.finish(c, done("too late")))
			f.wantAcquired(other(c), 1)
		}
	}},
	{"StateUnknown without an effect removes a record that was taken over", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.ok("Finish", f.finish(next, unknown))
		f.wantAcquired(rival(c), 1)
	}},
	{"a record can be released after BeginEffect", func(f *fixture) {
		c := f.begin()
		f.ok("Finish", f.finish(c, released))
		f.wantAcquired(rival(c), 1)
	}},
	{"a new record has no effect", func(f *fixture) {
		c := f.begin()
		f.ok("Finish", f.finish(c, released))
		f.wantAcquired(rival(c), 1)
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 2)
	}},
	{"a finished record can neither be renewed nor begin an effect", func(f *fixture) {
		for _, o := range completions() {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			f.lost("Renew", f.renew(c))
			f.lost("BeginEffect", f.beginEffect(c))
			f.wantCompletion(c, o)
		}
	}},
}

// wantOwnerGoesOn expects that the owner of an unknown record can still renew and finish it after
// look.
func (f *fixture) wantOwnerGoesOn(look func(c idempotent.Claim)) {
	f.Helper()
	for _, o := range completions() {
		c := f.begin()
		f.advance(lease + slack)
		look(c)
		f.ok("Renew", f.renew(c))
		f.want(rival(c), idempotent.VerdictRunning)
		f.advance(lease + slack)
		look(c)
		f.want(rival(c), idempotent.VerdictUnknown)
		f.ok("BeginEffect", f.beginEffect(c))
		f.ok("Finish", f.finish(c, o))
		f.wantCompletion(c, o)
	}
}

// retention: a record lives for its retention, and no shorter than its lease.
var retention = []testCase{
	{"a finished record is kept for its retention", func(f *fixture) {
		for _, o := range kept() {
			c := f.begin()
			f.advance(lease / 2)
			f.ok("Finish", f.finish(c, o))
			f.advance(keep - slack) // counted from Finish
			f.wantCompletion(c, o)
			f.advance(2 * slack)
			f.lost("Renew", f.renew(c))
			f.lost("Finish", f.finish(c, done("too late")))
			f.wantAcquired(other(c), 1)
		}
	}},
	{"the retention of the completion applies", func(f *fixture) {
		for _, d := range []time.Duration{48 * time.Hour, 2 * slack} {
			for _, o := range kept() {
				c := f.begin()
				o.Retention = d
				f.ok("Finish", f.finish(c, o))
				f.advance(d - slack)
				f.wantCompletion(c, o)
				f.advance(2 * slack)
				f.wantAcquired(other(c), 1)
			}
		}
	}},
	{"a repeated Finish does not extend the retention", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, done("response")))
		f.advance(keep - slack)
		f.ok("repeated Finish", f.finish(c, done("response")))
		f.advance(2 * slack)
		f.wantAcquired(rival(c), 1)
	}},
	{"a replay does not extend the retention", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, done("response")))
		f.advance(keep - slack)
		f.wantCompletion(c, done("response"))
		f.advance(2 * slack)
		f.wantAcquired(rival(c), 1)
	}},
	{"an abandoned record keeps its fingerprint and attempts", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep - slack)
		f.want(other(c), idempotent.VerdictMismatch)
		f.wantAcquired(rival(c), 2)
	}},
	{"an abandoned record stays unknown after BeginEffect", func(f *fixture) {
		c := f.begin()
		f.advance(keep - slack)
		f.want(rival(c), idempotent.VerdictUnknown)
	}},
	{"a takeover restarts the retention", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep - slack)
		f.wantAcquired(rival(c), 2)
		f.advance(keep - slack)
		f.wantAcquired(rival(c), 3)
	}},
	{"only a takeover and a Finish restart the retention", func(f *fixture) {
		steps := []struct {
			name string
			take func(c idempotent.Claim)
		}{
			{"a repeated Acquire", func(c idempotent.Claim) { f.wantAcquired(c, 1) }},
			{"Renew", func(c idempotent.Claim) { f.ok("Renew", f.renew(c)) }},
			{"BeginEffect", func(c idempotent.Claim) { f.ok("BeginEffect", f.beginEffect(c)) }},
			{"a duplicate", func(c idempotent.Claim) {
				f.ok("Renew", f.renew(c))
				f.want(rival(c), idempotent.VerdictRunning)
			}},
			{"a duplicate of an unknown record", func(c idempotent.Claim) {
				f.ok("BeginEffect", f.beginEffect(c))
				f.want(rival(c), idempotent.VerdictUnknown)
			}},
			{"a duplicate of a record that is stored as unknown", func(c idempotent.Claim) {
				f.ok("BeginEffect", f.beginEffect(c))
				o := unknown
				o.Retention = 2 * slack
				f.ok("Finish", f.finish(c, o))
				f.want(rival(c), idempotent.VerdictUnknown)
			}},
		}
		for _, s := range steps {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(keep - slack)
			s.take(c)
			f.advance(2 * lease) // the lease is over, too
			if d := f.acquire(other(c)); d.Verdict != idempotent.VerdictAcquired || d.Attempt != 1 {
				f.Errorf("after %s and the retention, Acquire returned %s, attempt %d; want a new record", s.name, d.Verdict, d.Attempt)
			}
		}
	}},
	{"a repeated Acquire does not shorten the retention", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		c.Retention = time.Second
		f.wantAcquired(c, 1)
		f.advance(keep - slack)
		f.want(other(c), idempotent.VerdictMismatch)
	}},
	{"a new record inherits nothing from an expired one", func(f *fixture) {
		type past struct {
			name  string
			enter func(c idempotent.Claim)
		}
		pasts := []past{
			{"running", func(idempotent.Claim) {}},
			{"taken over", func(c idempotent.Claim) {
				f.advance(lease + slack)
				f.wantAcquired(rival(c), 2)
			}},
			{"effect begun", func(c idempotent.Claim) { f.ok("BeginEffect", f.beginEffect(c)) }},
		}
		for _, o := range kept() {
			pasts = append(pasts, past{o.State.String(), func(c idempotent.Claim) {
				f.ok("BeginEffect", f.beginEffect(c))
				f.ok("Finish", f.finish(c, o))
			}})
		}
		for _, past := range pasts {
			f.Logf("the expired record was %s", past.name)
			c := newClaim()
			f.wantAcquired(c, 1)
			past.enter(c)
			f.advance(2 * keep) // without a Sweep

			next := other(c)
			f.wantAcquired(next, 1)
			f.want(c, idempotent.VerdictMismatch)
			f.wantLost(c)
			f.want(rival(next), idempotent.VerdictRunning)
			f.advance(lease + slack)
			last := rival(next)
			f.wantAcquired(last, 2) // no effect was begun
			f.ok("Finish", f.finish(last, unknown))
			f.wantAcquired(rival(c), 1) // the record was removed
		}
	}},
	{"an abandoned record expires with its retention", func(f *fixture) {
		for _, begun := range []bool{false, true} {
			c := newClaim()
			f.wantAcquired(c, 1)
			if begun {
				f.ok("BeginEffect", f.beginEffect(c))
			}
			f.advance(keep + slack)
			next := other(c)
			f.wantAcquired(next, 1)
			f.wantLost(c)
			f.ok("Finish", f.finish(next, done("next")))
		}
	}},
	{"the owner of an expired record gets ErrLost", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep + slack)
		f.lost("Renew", f.renew(c))
		f.lost("BeginEffect", f.beginEffect(c))
		f.lost("Finish", f.finish(c, done("too late")))
		f.ok("Finish", f.finish(c, released))
		f.wantAcquired(rival(c), 1)
	}},
	{"a record does not expire before its lease is over", func(f *fixture) {
		c := newClaim()
		c.Retention = time.Second
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.want(rival(c), idempotent.VerdictRunning)
		f.ok("Finish", f.finish(c, done("response")))
		f.wantCompletion(c, done("response"))
	}},
	{"a renewed record outlives its retention", func(f *fixture) {
		c := newClaim()
		c.Retention = 2 * lease
		f.wantAcquired(c, 1)
		for range 10 {
			f.advance(lease - slack)
			f.ok("Renew", f.renew(c))
		}
		f.want(rival(c), idempotent.VerdictRunning)
		f.ok("BeginEffect", f.beginEffect(c))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantCompletion(c, done("response"))
	}},
	{"running and unknown records stay among many others", func(f *fixture) {
		var running, settled []idempotent.Claim
		for i := range 400 {
			c := newClaim()
			f.wantAcquired(c, 1)
			switch i % 4 {
			case 0:
				running = append(running, c)
			case 1:
				f.ok("BeginEffect", f.beginEffect(c))
				f.ok("Finish", f.finish(c, unknown))
				settled = append(settled, c)
			default:
				f.ok("Finish", f.finish(c, done("response")))
			}
		}
		for i := range running {
			f.want(rival(running[i]), idempotent.VerdictRunning)
			f.want(rival(settled[i]), idempotent.VerdictUnknown)
		}
	}},
}

// local: claims of a LocalStore have a lease of 100 years.
var local = []testCase{
	{"a lease of 100 years", func(f *fixture) {
		const forever = 100 * 365 * 24 * time.Hour
		f.advance(keep)
		c := newClaim()
		c.Lease = forever
		f.wantAcquired(c, 1)
		f.ok("Renew", f.store.Renew(f.Context(), c.Owner(), forever))
		f.ok("BeginEffect", f.beginEffect(c))
		f.advance(100 * keep)
		f.want(rival(c), idempotent.VerdictRunning)
		if s, ok := f.store.(idempotent.Sweeper); ok {
			_, err := s.Sweep(f.Context(), 0)
			f.ok("Sweep", err)
		}
		f.ok("Finish", f.finish(c, done("response")))
		f.wantCompletion(c, done("response"))
	}},
}
