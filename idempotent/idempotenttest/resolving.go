package idempotenttest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seawall-go/seawall/idempotent"
)

// enterUnknown returns the ways in which an acquired record becomes unknown.
func (f *fixture) enterUnknown() []func(c idempotent.Claim) {
	return []func(c idempotent.Claim){
		func(c idempotent.Claim) {
			f.ok("BeginEffect", f.beginEffect(c))
			f.ok("Finish", f.finish(c, unknown))
		},
		func(c idempotent.Claim) {
			f.ok("BeginEffect", f.beginEffect(c))
			f.advance(lease + slack)
		},
	}
}

var resolving = []testCase{
	{"Resolve ends an unknown record", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for _, enter := range f.enterUnknown() {
			for _, o := range []idempotent.Completion{done("resolved"), notKept, released} {
				c := newClaim()
				f.wantAcquired(c, 1)
				enter(c)
				f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
				if err := r.Resolve(f.Context(), c.ID, o); !errors.Is(err, idempotent.ErrNotUnknown) {
					f.Errorf("a second Resolve with %s returned %v, want ErrNotUnknown", o.State, err)
				}
				f.wantCompletion(c, o)
			}
		}
	}},
	{"after Resolve the owner gets ErrLost", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for _, enter := range f.enterUnknown() {
			for _, o := range []idempotent.Completion{done("resolved"), notKept, released} {
				c := newClaim()
				f.wantAcquired(c, 1)
				enter(c)
				f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
				f.lost("Renew", f.renew(c))
				f.lost("BeginEffect", f.beginEffect(c))
				f.lost("Finish", f.finish(c, done("too late")))
				if o.State != idempotent.StateAbsent {
					f.wantLost(c)
				}
				f.wantCompletion(c, o)
			}
		}
	}},
	{"a resolved record has no owner, whatever its token was", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for _, enter := range f.enterUnknown() {
			for _, o := range []idempotent.Completion{done("resolved"), notKept} {
				for _, token := range []idempotent.Token{{}, idempotent.NewToken()} {
					c := newClaim()
					c.Token = token
					f.wantAcquired(c, 1)
					enter(c)
					f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
					ones := idempotent.Token(bytes.Repeat([]byte{0xff}, len(token)))
					for _, guess := range []idempotent.Token{token, {}, ones} {
						c.Token = guess
						f.wantLost(c)
					}
					f.wantCompletion(c, o)
				}
			}
		}
	}},
	{"a resolved record keeps its fingerprint for its retention", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for _, enter := range f.enterUnknown() {
			for _, o := range []idempotent.Completion{done("resolved"), notKept} {
				c := newClaim()
				f.wantAcquired(c, 1)
				enter(c)
				f.advance(lease)
				o.Retention = 2 * keep
				f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
				f.advance(o.Retention - slack)
				f.want(other(c), idempotent.VerdictMismatch)
				f.wantCompletion(c, o)
				f.advance(2 * slack)
				f.wantAcquired(other(c), 1)
			}
		}
	}},
	{"Resolve returns ErrNotUnknown for any other record", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		over := func() { f.advance(lease + slack) }
		states := []struct {
			name  string
			enter func(c idempotent.Claim)
			check func(c idempotent.Claim)
		}{
			{"running", func(idempotent.Claim) {}, func(c idempotent.Claim) { f.want(rival(c), idempotent.VerdictRunning) }},
			{"lease over", func(idempotent.Claim) { over() }, func(c idempotent.Claim) { f.wantAcquired(rival(c), 2) }},
			{"effect begun", func(c idempotent.Claim) { f.ok("BeginEffect", f.beginEffect(c)) },
				func(c idempotent.Claim) { f.want(rival(c), idempotent.VerdictRunning) }},
			{"effect begun, renewed late", func(c idempotent.Claim) {
				f.ok("BeginEffect", f.beginEffect(c))
				over()
				f.ok("Renew", f.renew(c))
			}, func(c idempotent.Claim) { f.want(rival(c), idempotent.VerdictRunning) }},
			{"done", func(c idempotent.Claim) { f.ok("Finish", f.finish(c, done("response"))) },
				func(c idempotent.Claim) { f.wantCompletion(c, done("response")) }},
			{"not kept", func(c idempotent.Claim) { f.ok("Finish", f.finish(c, notKept)) },
				func(c idempotent.Claim) { f.wantCompletion(c, notKept) }},
			{"absent", func(c idempotent.Claim) { f.ok("Finish", f.finish(c, released)) },
				func(c idempotent.Claim) { f.wantAcquired(rival(c), 1) }},
			{"over its retention", func(c idempotent.Claim) {
				f.ok("BeginEffect", f.beginEffect(c))
				f.ok("Finish", f.finish(c, unknown))
				f.advance(keep + slack)
			}, func(c idempotent.Claim) { f.wantAcquired(rival(c), 1) }},
		}
		for _, s := range states {
			c := newClaim()
			f.wantAcquired(c, 1)
			s.enter(c)
			for _, o := range []idempotent.Completion{done("resolved"), notKept, released} {
				if err := r.Resolve(f.Context(), c.ID, o); !errors.Is(err, idempotent.ErrNotUnknown) {
					f.Errorf("record %s: Resolve with %s returned %v, want ErrNotUnknown", s.name, o.State, err)
				}
			}
			s.check(c)
		}
	}},
	{"an invalid resolution is an error and changes nothing", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for _, enter := range f.enterUnknown() {
			c := newClaim()
			f.wantAcquired(c, 1)
			enter(c)
			for _, s := range []idempotent.State{0, idempotent.StateRunning, idempotent.StateUnknown, 200} {
				if r.Resolve(f.Context(), c.ID, idempotent.Completion{State: s, Retention: keep}) == nil {
					f.Errorf("Resolve with the invalid state %d returned no error", s)
				}
			}
			f.want(rival(c), idempotent.VerdictUnknown)
		}
	}},
	{"an invalid resolution leaves the record to its owner", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		f.wantOwnerGoesOn(func(c idempotent.Claim) {
			for _, s := range []idempotent.State{0, idempotent.StateUnknown} {
				if r.Resolve(f.Context(), c.ID, idempotent.Completion{State: s, Retention: keep}) == nil {
					f.Errorf("Resolve with the invalid state %d returned no error", s)
				}
			}
		})
	}},
	{"only one of many concurrent resolutions succeeds", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for _, enter := range f.enterUnknown() {
			c := newClaim()
			f.wantAcquired(c, 1)
			enter(c)
			var winner idempotent.Completion
			won := f.race(8, func(i int) bool {
				o := done(fmt.Sprint(i))
				err := r.Resolve(f.Context(), c.ID, o)
				if err == nil {
					winner = o
				} else if !errors.Is(err, idempotent.ErrNotUnknown) {
					f.Errorf("Resolve returned %v, want nil or ErrNotUnknown", err)
				}
				return err == nil
			})
			if won != 1 {
				f.Fatalf("%d of 8 calls of Resolve succeeded, want 1", won)
			}
			f.wantCompletion(c, winner)
		}
	}},
	{"a late Finish races with Resolve", func(f *fixture) {
		r := f.store.(idempotent.Resolver)
		for i := range 40 {
			c := f.begin()
			f.advance(lease + slack)
			var resolved, finished error
			f.race(2, func(j int) bool {
				if j == i%2 {
					resolved = r.Resolve(f.Context(), c.ID, done("resolved"))
				} else {
					finished = f.finish(c, done("late"))
				}
				return true
			})
			if resolved == nil {
				f.lost("Finish", finished)
				f.wantCompletion(c, done("resolved"))
				continue
			}
			if !errors.Is(resolved, idempotent.ErrNotUnknown) {
				f.Fatalf("Resolve returned %v, want nil or ErrNotUnknown", resolved)
			}
			f.ok("Finish", finished)
			f.wantCompletion(c, done("late"))
		}
	}},
}
