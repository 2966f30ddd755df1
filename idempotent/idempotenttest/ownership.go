package idempotenttest

import (
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// ownership: the token is the owner, the lease bounds how long others wait, and each operation
// can be repeated.
var ownership = []testCase{
	{"the first claim acquires the record", func(f *fixture) {
		f.wantAcquired(newClaim(), 1)
	}},
	{"records with different IDs are independent", func(f *fixture) {
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
			for i := range 16 { // the other half is random
				c.ID[i] = fill
			}
			for i := range c.Token { // a token of zeros is valid
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
	{"a duplicate gets VerdictRunning", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		if d := f.want(rival(c), idempotent.VerdictRunning); d.LeaseLeft < 0 || d.LeaseLeft > lease {
			f.Errorf("Acquire returned LeaseLeft %s of a lease of %s", d.LeaseLeft, lease)
		}
	}},
	{"a repeated Acquire restarts the lease", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.wantAcquired(c, 1)
		f.advance(lease - slack)
		f.want(rival(c), idempotent.VerdictRunning)
		f.advance(2 * slack)
		f.wantAcquired(c, 1) // the lease is over, and no one has taken over
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
	{"a repeated Acquire does not reopen a finished record", func(f *fixture) {
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
	{"a second Finish changes nothing", func(f *fixture) {
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
	{"a release resets the attempts", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.ok("Finish", f.finish(next, released))
		f.wantAcquired(rival(c), 1)
	}},
	{"a repeated release does not affect the next owner", func(f *fixture) {
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
	{"a token that acquired nothing changes nothing", func(f *fixture) {
		c := newClaim()
		f.lost("Renew", f.renew(c))
		f.lost("BeginEffect", f.beginEffect(c))
		f.lost("Finish", f.finish(c, done("response")))
		f.lost("Finish", f.finish(c, notKept))
		f.ok("Finish absent", f.finish(c, released)) // the record is absent, as requested
		f.ok("Finish unknown", f.finish(c, unknown)) // no effect was begun
		f.wantAcquired(rival(c), 1)
	}},
	{"another token changes nothing", func(f *fixture) {
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
				f.Errorf("Finish with the invalid state %d returned no error", s)
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
	{"an owner who was not replaced can renew after the lease", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(2 * lease)
		f.ok("Renew", f.renew(c))
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"an owner who was not replaced can finish after the lease", func(f *fixture) {
		for _, o := range []idempotent.Completion{done("response"), notKept, released} {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(2 * lease)
			f.ok("Finish", f.finish(c, o))
			f.wantCompletion(c, o)
		}
	}},
	{"after a takeover the former owner gets ErrLost", func(f *fixture) {
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
	{"after a takeover the former owner cannot begin an effect", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 2)
		f.lost("BeginEffect", f.beginEffect(c))
		f.advance(lease + slack)
		f.wantAcquired(rival(c), 3) // no effect was begun
	}},
	{"each takeover is one more attempt", func(f *fixture) {
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

// fingerprints: they are compared first, in every state.
var fingerprints = []testCase{
	{"another fingerprint is a mismatch in every state", func(f *fixture) {
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
					f.Errorf("record %s: Acquire with another fingerprint returned %s, want %s", s.name, d.Verdict, idempotent.VerdictMismatch)
				}
			}
		}
	}},
	{"all bytes of a fingerprint are compared", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		for i := range c.Fingerprint {
			mine := rival(c)
			mine.Fingerprint[i] ^= 1
			f.want(mine, idempotent.VerdictMismatch)
		}
		f.want(rival(c), idempotent.VerdictRunning)
	}},
	{"a fingerprint of zeros is valid", func(f *fixture) {
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
		f.want(other(c), idempotent.VerdictMismatch) // it does not take over,
		f.wantAcquired(rival(c), 2)                  // renew the lease,
		f.advance(keep - slack)
		f.want(other(c), idempotent.VerdictMismatch)
		f.advance(2 * slack)
		f.wantAcquired(rival(c), 1) // or extend the retention
	}},
}

// responses: they come back byte for byte.
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
				f.Error("Finish or Acquire changed the bytes of Completion.Response")
			}
		}
	}},
	{"the response of StateNotKept comes back byte for byte", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		small := notKept
		small.Response = append(make([]byte, 2048), "\x00\xff"...) // a status and a Location
		f.ok("Finish", f.finish(c, small))
		f.wantCompletion(c, small)
	}},
}
