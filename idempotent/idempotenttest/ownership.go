package idempotenttest

import (
	"bytes"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// ownership: the token owns, the lease is life, and each operation may be repeated (rules 2 and 3).
var ownership = []testCase{
	{"first acquires", func(f *fixture) {
		f.wantAcquired(newClaim(), 1)
	}},
	{"ids are independent", func(f *fixture) {
		a, b := newClaim(), newClaim()
		f.wantAcquired(a, 1)
		f.wantAcquired(b, 1)
		f.ok("Finish", f.finish(a, done("a")))
		f.want(rival(b), idempotent.InFlight)
	}},
	{"scope does not decide what is found", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		d := rival(c)
		d.Scope[0]++
		f.want(d, idempotent.InFlight)
	}},
	{"duplicate is told that the first runs", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		v := f.want(rival(c), idempotent.InFlight)
		if v.LeaseLeft < 0 || v.LeaseLeft > lease {
			f.Errorf("LeaseLeft is %s of a lease of %s", v.LeaseLeft, lease)
		}
	}},
	{"repeated Acquire after a lost reply", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - time.Second)
		f.wantAcquired(c, 1)
		f.advance(lease - time.Second) // its lease has started anew
		f.want(rival(c), idempotent.InFlight)
		f.advance(2 * time.Second)
		f.wantAcquired(c, 1) // over, but nobody's else
		f.want(rival(c), idempotent.InFlight)
	}},
	{"repeated Acquire after Finish revives nothing", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, done("response")))
		f.want(c, idempotent.Done)
		f.wantOutcome(c, done("response"))
	}},
	{"repeated Finish after a lost reply", func(f *fixture) {
		for _, o := range outcomes() {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.ok("Finish", f.finish(c, o))
			f.ok("repeated Finish", f.finish(c, o))
			f.wantOutcome(c, o)
		}
	}},
	{"first Finish counts", func(f *fixture) {
		for _, first := range outcomes()[:3] {
			for _, second := range append(outcomes(), done("another response")) {
				c := newClaim()
				f.wantAcquired(c, 1)
				f.ok("Finish", f.finish(c, first))
				f.ok("second Finish", f.finish(c, second))
				f.wantOutcome(c, first)
			}
		}
	}},
	{"record is returned byte for byte", func(f *fixture) {
		for _, record := range [][]byte{{0}, []byte("\x00\xff\r\n'\"\\"), bytes.Repeat([]byte{0, 1, 0xfe}, 1<<18)} {
			c := newClaim()
			f.wantAcquired(c, 1)
			o := idempotent.Outcome{State: idempotent.Done, Record: record, Retention: keep}
			f.ok("Finish", f.finish(c, o))
			f.wantOutcome(c, o)
			f.wantOutcome(c, o)
		}
	}},
	{"released record is absent", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, released))
		f.lost("Renew", f.renew(c))
		f.lost("Mark", f.mark(c))
		f.ok("repeated Finish", f.finish(c, released))
		f.lost("Finish", f.finish(c, done("too late")))
		f.wantAcquired(other(c), 1) // another print is welcome
	}},
	{"release does not touch the next owner", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, released))
		next := rival(c)
		f.wantAcquired(next, 1)
		f.wantLost(c)
		f.want(rival(c), idempotent.InFlight)
		f.ok("Finish", f.finish(next, done("next")))
		f.wantOutcome(c, done("next"))
	}},
	{"nothing can be changed that was never acquired", func(f *fixture) {
		c := newClaim()
		f.lost("Renew", f.renew(c))
		f.lost("Mark", f.mark(c))
		for _, o := range outcomes()[:3] {
			f.lost("Finish", f.finish(c, o))
		}
		f.ok("Finish", f.finish(c, released)) // it is what was asked for
		f.wantAcquired(rival(c), 1)
	}},
	{"stranger changes nothing", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.wantLost(rival(c))
		f.want(rival(c), idempotent.InFlight)
		f.ok("Finish", f.finish(c, done("response")))
		f.wantLost(rival(c))
		f.wantOutcome(c, done("response"))
	}},
	{"invalid outcome is an error", func(f *fixture) {
		for _, s := range []idempotent.State{0, idempotent.Acquired, idempotent.InFlight, idempotent.Mismatch, idempotent.Expired, 200} {
			c := newClaim()
			f.wantAcquired(c, 1)
			if f.finish(c, idempotent.Outcome{State: s, Retention: keep}) == nil {
				f.Errorf("Finish %d: no error", s)
			}
			f.want(rival(c), idempotent.InFlight)
		}
	}},
	{"renewal counts from now", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		for range 5 {
			f.advance(lease - time.Second)
			f.ok("Renew", f.renew(c))
		}
		f.want(rival(c), idempotent.InFlight)
		f.advance(lease + time.Second)
		f.wantAcquired(rival(c), 2)
	}},
	{"renewal may shorten", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Renew", f.store.Renew(f.ctx(), c.Own(), time.Second))
		f.advance(2 * time.Second)
		f.wantAcquired(rival(c), 2)
	}},
	{"late owner whom nobody replaced may renew", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(2 * lease)
		f.ok("Renew", f.renew(c))
		f.want(rival(c), idempotent.InFlight)
	}},
	{"late owner whom nobody replaced may finish", func(f *fixture) {
		for _, o := range outcomes() {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(2 * lease)
			f.ok("Finish", f.finish(c, o))
			f.wantOutcome(c, o)
		}
	}},
	{"takeover, and the former owner has lost", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + time.Second)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.wantLost(c)
		f.want(c, idempotent.InFlight)
		f.wantAcquired(next, 2)
		f.ok("Renew", f.renew(next))
		f.ok("Finish", f.finish(next, done("next")))
		f.wantLost(c)
		f.wantOutcome(c, done("next"))
	}},
	{"every takeover counts", func(f *fixture) {
		c := newClaim()
		for attempt := 1; attempt <= 5; attempt++ {
			f.wantAcquired(c, attempt)
			f.advance(lease + time.Second)
			c = rival(c)
		}
	}},
	{"taken over lease is a whole one", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + time.Second)
		f.wantAcquired(rival(c), 2)
		f.advance(lease - time.Second)
		f.want(rival(c), idempotent.InFlight)
	}},
}

// mismatch: the print is compared first, in every state (rule 1).
var mismatch = []testCase{
	{"mismatch in every state", func(f *fixture) {
		states := map[string]func(c idempotent.Claim){
			"running":                   func(idempotent.Claim) {},
			"lease over":                func(idempotent.Claim) { f.advance(2 * lease) },
			"marked":                    func(c idempotent.Claim) { f.ok("Mark", f.mark(c)) },
			"marked, lease over":        func(c idempotent.Claim) { f.ok("Mark", f.mark(c)); f.advance(2 * lease) },
			idempotent.Done.String():    func(c idempotent.Claim) { f.ok("Finish", f.finish(c, done("response"))) },
			idempotent.Sealed.String():  func(c idempotent.Claim) { f.ok("Finish", f.finish(c, sealed)) },
			idempotent.Unknown.String(): func(c idempotent.Claim) { f.ok("Finish", f.finish(c, unknown)) },
		}
		for name, enter := range states {
			c := newClaim()
			f.wantAcquired(c, 1)
			enter(c)
			if v := f.want(other(c), idempotent.Mismatch); v.LeaseLeft != 0 {
				f.Errorf("%s: a mismatch tells what is left of the lease", name)
			}
			sameToken := other(c)
			sameToken.Token = c.Token
			f.want(sameToken, idempotent.Mismatch)
		}
	}},
	{"mismatch changes nothing", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - time.Second)
		f.want(other(c), idempotent.Mismatch)
		f.advance(2 * time.Second)
		f.want(other(c), idempotent.Mismatch) // takes over nothing
		f.ok("Renew", f.renew(c))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantOutcome(c, done("response"))
	}},
}
