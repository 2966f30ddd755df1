package idempotenttest

import (
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// marks: past the point of no return nobody takes over.
var marks = []testCase{
	{"marked record still runs", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Mark", f.mark(c))
		f.ok("repeated Mark", f.mark(c))
		f.want(rival(c), idempotent.InFlight)
		f.wantAcquired(c, 1)
		f.ok("Renew", f.renew(c))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantOutcome(c, done("response"))
	}},
	{"mark does not renew", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease - time.Second)
		f.ok("Mark", f.mark(c))
		f.advance(2 * time.Second)
		f.want(rival(c), idempotent.Unknown)
	}},
	{"marked record whose lease is over is unknown", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Mark", f.mark(c))
		f.advance(lease + time.Second)
		for range 3 {
			f.want(rival(c), idempotent.Unknown)
			f.advance(lease)
		}
	}},
	{"owner may still finish what is unknown", func(f *fixture) {
		for _, o := range outcomes() {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.ok("Mark", f.mark(c))
			f.advance(lease + time.Second)
			f.want(rival(c), idempotent.Unknown)
			f.ok("Finish", f.finish(c, o))
			f.wantOutcome(c, o)
		}
	}},
	{"owner may renew what is unknown", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Mark", f.mark(c))
		f.advance(lease + time.Second)
		f.want(rival(c), idempotent.Unknown)
		f.ok("Renew", f.renew(c))
		f.want(rival(c), idempotent.InFlight)
	}},
	{"late owner whom nobody replaced may mark", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(lease + time.Second)
		f.ok("Mark", f.mark(c))
		f.want(rival(c), idempotent.Unknown)
	}},
	{"owner who knows that nothing happened may release", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Mark", f.mark(c))
		f.ok("Finish", f.finish(c, released))
		f.wantAcquired(rival(c), 1)
	}},
	{"new record is not marked", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Mark", f.mark(c))
		f.ok("Finish", f.finish(c, released))
		f.wantAcquired(rival(c), 1)
		f.advance(lease + time.Second)
		f.wantAcquired(rival(c), 2)
	}},
	{"finished record can be neither marked nor renewed", func(f *fixture) {
		for _, o := range outcomes() {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.ok("Finish", f.finish(c, o))
			f.lost("Mark", f.mark(c))
			f.lost("Renew", f.renew(c))
			f.wantOutcome(c, o)
		}
	}},
}

// retention: the two clocks (rules 4 and 5).
var retention = []testCase{
	{"finished record is kept for its retention", func(f *fixture) {
		for _, o := range outcomes()[:3] {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease / 2)
			f.ok("Finish", f.finish(c, o))
			f.advance(keep - time.Second) // counted from Finish
			f.wantOutcome(c, o)
			f.advance(2 * time.Second)
			f.lost("Renew", f.renew(c))
			f.wantAcquired(other(c), 1)
		}
	}},
	{"retention is the outcome's", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, idempotent.Outcome{State: idempotent.Done, Retention: 48 * time.Hour}))
		f.advance(47 * time.Hour)
		f.want(rival(c), idempotent.Done)
	}},
	{"repeated Finish does not prolong", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.ok("Finish", f.finish(c, done("response")))
		f.advance(keep - time.Second)
		f.ok("repeated Finish", f.finish(c, done("response")))
		f.advance(2 * time.Second)
		f.wantAcquired(rival(c), 1)
	}},
	{"abandoned record remembers its print and attempts", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep - time.Second)
		f.want(other(c), idempotent.Mismatch)
		f.wantAcquired(rival(c), 2)
	}},
	{"takeover starts the retention anew", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep - time.Second)
		f.wantAcquired(rival(c), 2)
		f.advance(keep - time.Second)
		f.wantAcquired(rival(c), 3)
	}},
	{"abandoned record ends with its retention", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep + time.Second)
		next := other(c)
		f.wantAcquired(next, 1)
		f.wantLost(c)
		f.ok("Finish", f.finish(next, done("next")))
	}},
	{"owner of an ended record has lost", func(f *fixture) {
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep + time.Second)
		f.lost("Renew", f.renew(c))
		f.lost("Mark", f.mark(c))
		f.lost("Finish", f.finish(c, done("too late")))
		f.wantAcquired(rival(c), 1)
	}},
	{"record does not end before its lease", func(f *fixture) {
		c := newClaim()
		c.Retention = time.Second
		f.wantAcquired(c, 1)
		f.advance(lease - time.Second)
		f.want(rival(c), idempotent.InFlight)
		f.ok("Finish", f.finish(c, done("response")))
		f.wantOutcome(c, done("response"))
	}},
	{"renewed record outlives its retention", func(f *fixture) {
		c := newClaim()
		c.Retention = 2 * lease
		f.wantAcquired(c, 1)
		for range 10 {
			f.advance(lease - time.Second)
			f.ok("Renew", f.renew(c))
		}
		f.want(rival(c), idempotent.InFlight)
		f.ok("Mark", f.mark(c))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantOutcome(c, done("response"))
	}},
}
