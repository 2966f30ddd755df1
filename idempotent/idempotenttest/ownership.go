package idempotenttest

import (
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// ownership: ownership is the token, life is the lease, and each operation can be repeated (rules 2
// and 3).
var ownership = []testCase{
	{"the first claim acquires", func(f *fixture) {
		f.wantAcquired(newClaim(), 1)
	}},
	{"records of different IDs are apart", func(f *fixture) {
		a := newClaim()
		f.wantAcquired(a, 1)
		for i := range a.ID { // IDs that differ in one bit
			b := rival(a)
			b.ID[i] ^= 1
			f.wantAcquired(b, 1)
			f.lost("Renew", f.store.Renew(f.Context(), idempotent.Owner{ID: b.ID, Token: a.Token}, lease))
		}
		f.ok("Finish", f.finish(a, done("a")))
		b := rival(a)
		b.ID[31] ^= 1
		f.want(b, idempotent.VerdictRunning)
	}},
	{"IDs and tokens may hold any bytes", func(f *fixture) {
		for _, fill := range []byte{0, '\'', '\\', '\n', 0x80, 0xff} {
			c := newClaim()
			for i := range 16 { // the other half keeps it apart from those of other cases
				c.ID[i] = fill
			}
			for i := range c.Token { // a token of zeros is one like any other
				c.Token[i] = fill
			}
			f.wantAcquired(c, 1)
			f.wantAcquired(c, 1)
			f.want(rival(c), idempotent.VerdictRunning)
			f.ok("Renew", f.renew(c))
			f.ok("BeginEffect", f.beginEffect(c))
			f.ok("Finish", f.finish(c, done("response")))
			f.wantCompletion(c, done("response"))
		}
	}},
	{"the scope does not decide which record is found", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		d := rival(c)
		d.Scope[0]++
		f.want(d, idempotent.VerdictRunning)
	}},
	{"a duplicate is told that the first one runs", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		if d := f.want(rival(c), idempotent.VerdictRunning); d.LeaseLeft < 0 || d.LeaseLeft > lease {
			f.Errorf("LeaseLeft is %s of a lease of %s", d.LeaseLeft, lease)
		}
	}},
	{"Acquire can be repeated, and the lease starts anew", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.want(rival(c), idempotent.VerdictRunning)
		f.advance(2 * slack)
		f.wantAcquired(c, 1) // the lease is over, and nobody has taken over
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"Acquire can be repeated after a takeover", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.wantAcquired(next, 2)
		f.want(c, idempotent.VerdictRunning)
	}},
	{"a repeated Acquire brings no finished record back to life", func(f *fixture) {
		for _, o := range kept() {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			f.want(c, verdicts[o.State])
			f.wantCompletion(c, o)
		}
	}},
	{"Renew and BeginEffect can be repeated", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		for range 3 {
			f.ok("Renew", f.renew(c))
		}
		for range 3 {
			f.ok("BeginEffect", f.beginEffect(c))
		}
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"Finish can be repeated", func(f *fixture) {
		for _, o := range completions() {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			for range 2 {
				f.ok("repeated Finish "+o.State.String(), f.finish(c, o))
			}
			f.wantCompletion(c, o)
		}
	}},
	{"the first Finish counts", func(f *fixture) {
		for _, first := range kept() {
			for _, second := range append(completions(), done("another response")) {
				c := f.begin()
				f.ok("Finish", f.finish(c, first))
				f.ok("second Finish", f.finish(c, second))
				f.wantCompletion(c, first)
			}
		}
	}},
	{"a released record is absent", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, released))
		f.lost("Renew", f.renew(c))
		f.lost("BeginEffect", f.beginEffect(c))
		f.lost("Finish", f.finish(c, done("too late")))
		f.lost("Finish", f.finish(c, notKept))
		f.wantAcquired(other(c), 1) // also for another fingerprint
	}},
	{"the count of attempts is forgotten with a released record", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.ok("Finish", f.finish(next, released))
		f.wantAcquired(rival(c), 1)
	}},
	{"a repeated release does not touch the next owner", func(f *fixture) {
		for _, o := range []idempotent.Completion{released, unknown} {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.ok("Finish", f.finish(c, o))
			next := rival(c)
			f.wantAcquired(next, 1)
			f.wantLost(c)
			f.want(rival(c), idempotent.VerdictRunning)
			f.ok("Finish", f.finish(next, done("next")))
			f.wantCompletion(c, done("next"))
		}
	}},
	{"nothing changes that was never acquired", func(f *fixture) {
		c := newClaim()
		f.lost("Renew", f.renew(c))
		f.lost("BeginEffect", f.beginEffect(c))
		f.lost("Finish", f.finish(c, done("response")))
		f.lost("Finish", f.finish(c, notKept))
		f.ok("Finish absent", f.finish(c, released)) // it is what was asked for
		f.ok("Finish unknown", f.finish(c, unknown)) // no effect was begun
		f.wantAcquired(rival(c), 1)
	}},
	{"a stranger changes nothing", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.wantLost(rival(c))
		for i := range c.Token { // tokens that differ in one bit
			stranger := c
			stranger.Token[i] ^= 1
			f.wantLost(stranger)
			f.want(stranger, idempotent.VerdictRunning)
		}
		f.ok("Finish", f.finish(c, done("response")))
		f.wantLost(rival(c))
		f.wantCompletion(c, done("response"))
	}},
	{"an invalid completion is an error and changes nothing", func(f *fixture) {
		for _, s := range []idempotent.State{0, idempotent.StateRunning, 200} {
			c := newClaim()
			f.wantAcquired(c, 1)
			if f.finish(c, idempotent.Completion{State: s, Retention: keep}) == nil {
				f.Errorf("Finish %d: no error", s)
			}
			f.want(rival(c), idempotent.VerdictRunning)
		}
	}},
	{"a renewal counts from now", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		for range 5 {
			f.advance(lease - slack)
			f.ok("Renew", f.renew(c))
		}
		f.want(rival(c), idempotent.VerdictRunning)
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 2)
	}},
	{"a renewal may shorten the lease", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Renew", f.store.Renew(f.Context(), c.Owner(), time.Second))
		f.advance(2 * slack)
		f.wantAcquired(rival(c), 2)
	}},
	{"a late owner whom nobody replaced can renew", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(2 * lease)
		f.ok("Renew", f.renew(c))
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"a late owner whom nobody replaced can finish", func(f *fixture) {
		for _, o := range []idempotent.Completion{done("response"), notKept, released} {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(2 * lease)
			f.ok("Finish", f.finish(c, o))
			f.wantCompletion(c, o)
		}
	}},
	{"after a takeover the former owner has lost", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.wantLost(c)
		f.want(c, idempotent.VerdictRunning)
		f.ok("Renew", f.renew(next))
		f.ok("Finish", f.finish(next, done("next")))
		f.wantLost(c)
		f.wantCompletion(c, done("next"))
	}},
	{"a former owner's effect has lost", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 2)
		f.lost("BeginEffect", f.beginEffect(c))
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 3) // no effect was begun
	}},
	{"every takeover counts", func(f *fixture) {
		c := newClaim()
		for attempt := 1; attempt <= 5; attempt++ {
			f.wantAcquired(c, attempt)
			f.advance(lease + slack)
			c = rival(c)
		}
	}},
	{"a takeover starts a whole lease", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 2)
		f.advance(lease - slack)
		f.want(rival(c), idempotent.VerdictRunning)
	}},
}

// fingerprints are compared before anything else, in every state (rule 1).
var fingerprints = []testCase{
	{"a mismatch in every state", func(f *fixture) {
		over := func() { f.advance(lease + slack) }
		states := []struct {
			name  string
			enter func(c idempotent.Claim)
		}{
			{"running", func(idempotent.Claim) {}},
			{"lease over", func(idempotent.Claim) { over() }},
			{"taken over", func(c idempotent.Claim) { over(); f.wantAcquired(rival(c), 2) }},
			{"effect begun", func(c idempotent.Claim) { f.ok("BeginEffect", f.beginEffect(c)) }},
			{"effect begun, lease over", func(c idempotent.Claim) { f.ok("BeginEffect", f.beginEffect(c)); over() }},
			{"done", func(c idempotent.Claim) { f.ok("Finish", f.finish(c, done("response"))) }},
			{"not kept", func(c idempotent.Claim) { f.ok("Finish", f.finish(c, notKept)) }},
			{"unknown", func(c idempotent.Claim) {
				f.ok("BeginEffect", f.beginEffect(c))
				f.ok("Finish", f.finish(c, unknown))
			}},
		}
		for _, s := range states {
			c := newClaim()
			f.wantAcquired(c, 1)
			s.enter(c)
			sameToken := other(c)
			sameToken.Token = c.Token
			for _, mine := range []idempotent.Claim{other(c), sameToken} {
				if d := f.acquire(mine); d.Verdict != idempotent.VerdictMismatch {
					f.Errorf("%s: Acquire with another fingerprint: %s", s.name, d.Verdict)
				}
			}
		}
	}},
	{"fingerprints are compared whole", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		for i := range c.Fingerprint {
			mine := rival(c)
			mine.Fingerprint[i] ^= 1
			f.want(mine, idempotent.VerdictMismatch)
		}
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"a fingerprint of zeros is one like any other", func(f *fixture) {
		c := newClaim()
		zeros := rival(c)
		zeros.Fingerprint = idempotent.Fingerprint{}
		f.wantAcquired(c, 1)
		f.want(zeros, idempotent.VerdictMismatch)
		f.ok("Finish", f.finish(c, released))
		f.wantAcquired(zeros, 1)
		f.want(rival(c), idempotent.VerdictMismatch)
		f.want(rival(zeros), idempotent.VerdictRunning)
	}},
	{"a mismatch changes nothing", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.want(other(c), idempotent.VerdictMismatch)
		f.advance(2 * slack)
		f.want(other(c), idempotent.VerdictMismatch) // it takes over nothing
		f.wantAcquired(rival(c), 2)                  // and has not renewed the lease
		f.advance(keep - slack)
		f.want(other(c), idempotent.VerdictMismatch)
		f.advance(2 * slack)
		f.wantAcquired(rival(c), 1) // nor the retention
	}},
}

// responses come back byte for byte.
var responses = []testCase{
	{"a response comes back byte for byte", func(f *fixture) {
		all := make([]byte, 0, 1<<20+4096)
		for len(all) < cap(all) {
			all = append(all, byte(len(all)), byte(len(all)>>8))
		}
		for _, response := range [][]byte{{0}, []byte(" \x00\xff\r\n'\"\\\x00"), []byte("NULL"), all} {
			c := newClaim()
			f.wantAcquired(c, 1)
			passed := append([]byte(nil), response...)
			f.ok("Finish", f.finish(c, idempotent.Completion{State: idempotent.StateDone, Response: passed, Retention: keep}))
			for range 2 {
				f.wantCompletion(c, done(string(response)))
			}
			if string(passed) != string(response) {
				f.Errorf("the store has changed the bytes that it was given")
			}
		}
	}},
	{"a response that is not kept says what it was", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		small := notKept
		small.Response = append(make([]byte, 2048), "\x00\xff"...) // a status and a Location
		f.ok("Finish", f.finish(c, small))
		f.wantCompletion(c, small)
	}},
}
