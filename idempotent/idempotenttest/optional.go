package idempotenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

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

var waiting = []testCase{
	{"Wait returns if the record is not running", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		wait := func(c idempotent.Claim) {
			f.Helper()
			f.ok("Wait", bounded(f.T, "Wait", patience, func() error { return w.Wait(f.Context(), c.ID) }))
		}
		wait(newClaim())
		for _, o := range completions() {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			wait(c)
		}
		c := newClaim()
		f.wantAcquired(c, 1)
		f.advance(keep + slack)
		wait(c)
	}},
	{"Wait returns when the record stops running", func(f *fixture) {
		for i, o := range append(completions(), unknown) {
			c := newClaim()
			f.wantAcquired(c, 1)
			if i < 4 { // the last one is unknown without an effect
				f.ok("BeginEffect", f.beginEffect(c))
			}
			woken := f.waiters(c)
			f.ok("Renew", f.renew(c))
			f.ok("Finish", f.finish(c, o))
			f.wantWoken(woken)
		}
	}},
	{"Wait returns after Resolve", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		for _, o := range []idempotent.Completion{done("resolved"), notKept, released} {
			c := f.begin()
			f.advance(lease + slack)
			woken := f.waiters(c)
			f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
			f.wantWoken(woken)
		}
	}},
	{"Wait does not end an unknown record", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		f.wantOwnerGoesOn(func(c idempotent.Claim) {
			ctx, cancel := context.WithTimeout(f.Context(), 10*time.Millisecond)
			defer cancel()
			err := bounded(f.T, "Wait", patience, func() error { return w.Wait(ctx, c.ID) })
			if err != nil && !errors.Is(err, ctx.Err()) {
				f.Errorf("Wait returned %v, want nil or %v", err, ctx.Err())
			}
		})
	}},
	{"Wait for one record does not depend on another one", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		a, b := newClaim(), newClaim()
		f.wantAcquired(a, 1)
		f.wantAcquired(b, 1)
		woken := make(chan error, 1)
		go func() { woken <- w.Wait(f.Context(), a.ID) }()
		f.ok("Finish", f.finish(b, done("b")))
		f.ok("Finish", f.finish(a, done("a")))
		f.ok("Wait", bounded(f.T, "Wait", patience, func() error { return <-woken }))
	}},
	{"Wait ends with its context", func(f *fixture) {
		w := f.store.(idempotent.Waiter)
		c := newClaim()
		f.wantAcquired(c, 1)
		ended, cancel := context.WithCancel(f.Context())
		cancel()
		ending, cancel := context.WithTimeout(f.Context(), 10*time.Millisecond)
		defer cancel()
		for _, ctx := range []context.Context{ended, ending} {
			err := bounded(f.T, "Wait", patience, func() error { return w.Wait(ctx, c.ID) })
			if err != nil && !errors.Is(err, ctx.Err()) { // Wait may return nil early
				f.Errorf("Wait returned %v, want nil or %v", err, ctx.Err())
			}
		}
		f.want(rival(c), idempotent.VerdictRunning)
	}},
}

// waiters starts calls of Wait for the record of c, and returns a channel of their results.
func (f *fixture) waiters(c idempotent.Claim) <-chan error {
	f.Helper()
	w := f.store.(idempotent.Waiter)
	woken := make(chan error, 3)
	var begun sync.WaitGroup
	for range cap(woken) {
		begun.Add(1)
		go func() {
			begun.Done()
			woken <- w.Wait(f.Context(), c.ID)
		}()
	}
	begun.Wait()
	for range 20 { // give the calls time to subscribe
		f.want(other(c), idempotent.VerdictMismatch)
	}
	return woken
}

func (f *fixture) wantWoken(woken <-chan error) {
	f.Helper()
	for range cap(woken) {
		f.ok("Wait", bounded(f.T, "Wait", patience, func() error { return <-woken }))
	}
}

// many is more than a likely default limit, and fewer than a store must have room for.
const many = 300

var sweeping = []testCase{
	{"Sweep without a limit removes all expired records", func(f *fixture) {
		s := f.store.(idempotent.Sweeper)
		for range many {
			f.wantAcquired(newClaim(), 1)
		}
		f.advance(keep + slack)
		fresh := newClaim()
		f.wantAcquired(fresh, 1)
		for i, want := range []int{many, 0} {
			n, err := s.Sweep(f.Context(), 0)
			f.ok("Sweep", err)
			if n != want {
				f.Errorf("call %d of Sweep with the limit 0 removed %d, want %d", i+1, n, want)
			}
		}
		f.want(rival(fresh), idempotent.VerdictRunning)
	}},
	{"Sweep does not end an unknown record", func(f *fixture) {
		s := f.store.(idempotent.Sweeper)
		f.wantOwnerGoesOn(func(idempotent.Claim) {
			for _, limit := range []int{10, 0} {
				n, err := s.Sweep(f.Context(), limit)
				f.ok("Sweep", err)
				if n != 0 {
					f.Errorf("Sweep removed %d records that have not expired", n)
				}
			}
		})
	}},
	{"Sweep removes expired records only", func(f *fixture) {
		s := f.store.(idempotent.Sweeper)
		var over []idempotent.Claim
		for _, o := range kept() {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			over = append(over, c)
		}
		abandoned := newClaim()
		f.wantAcquired(abandoned, 1)
		over = append(over, abandoned, f.begin())
		renewed := newClaim()
		f.wantAcquired(renewed, 1)
		f.advance(keep - lease)
		f.ok("Renew", f.store.Renew(f.Context(), renewed.Owner(), 2*lease))
		late := newClaim()
		f.wantAcquired(late, 1)
		fresh := make([]idempotent.Claim, 3)
		for i, o := range kept() {
			fresh[i] = f.begin()
			f.ok("Finish", f.finish(fresh[i], o))
		}
		f.advance(lease + slack)

		for i, sweep := range []struct{ limit, want int }{{1, 1}, {3, 3}, {0, 1}, {0, 0}} {
			n, err := s.Sweep(f.Context(), sweep.limit)
			f.ok("Sweep", err)
			if n != sweep.want {
				f.Errorf("Sweep %d with the limit %d removed %d, want %d", i+1, sweep.limit, n, sweep.want)
			}
		}
		f.want(rival(renewed), idempotent.VerdictRunning)
		f.wantAcquired(rival(late), 2) // its lease is over, but not its retention
		for i, o := range kept() {
			f.wantCompletion(fresh[i], o)
		}
		for _, c := range over {
			f.wantAcquired(other(c), 1)
		}
	}},
	{"Sweep races with new claims", func(f *fixture) {
		s := f.store.(idempotent.Sweeper)
		claims := make([]idempotent.Claim, 200)
		for i := range claims {
			claims[i] = newClaim()
			f.wantAcquired(claims[i], 1)
			f.ok("Finish", f.finish(claims[i], done("old")))
		}
		f.advance(keep + slack)
		f.race(8, func(i int) bool {
			if i%2 == 0 {
				for range 20 {
					_, err := s.Sweep(f.Context(), 10)
					f.ok("Sweep", err)
				}
				return true
			}
			for j := i / 2; j < len(claims); j += 4 {
				next := rival(claims[j])
				f.wantAcquired(next, 1)
				f.ok("BeginEffect", f.beginEffect(next))
				f.ok("Finish", f.finish(next, done(fmt.Sprint(j))))
			}
			return true
		})
		for j, c := range claims {
			f.wantCompletion(c, done(fmt.Sprint(j)))
		}
	}},
}

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

var listing = []testCase{
	{"ListUnknown lists unknown records", func(f *fixture) {
		enter := f.enterUnknown()
		finished := newClaim()
		f.wantAcquired(finished, 1)
		enter[0](finished)
		takenOver := newClaim()
		takenOver.Scope = idempotent.ID{}
		f.wantAcquired(takenOver, 1)
		f.advance(lease + slack)
		takenOver = rival(takenOver)
		f.wantAcquired(takenOver, 2)
		enter[1](takenOver)

		got := map[idempotent.ID]idempotent.UnknownRecord{}
		for _, u := range f.list(100) {
			got[u.ID] = u
		}
		for _, want := range []idempotent.UnknownRecord{
			{ID: finished.ID, Scope: finished.Scope, Attempt: 1, Left: keep - 2*(lease+slack)},
			{ID: takenOver.ID, Scope: takenOver.Scope, Attempt: 2, Left: keep - (lease + slack)},
		} {
			u, ok := got[want.ID]
			switch {
			case !ok:
				f.Errorf("ListUnknown misses the record with attempt %d", want.Attempt)
			case u.Scope != want.Scope || u.Attempt != want.Attempt:
				f.Errorf("ListUnknown returned Scope %s, Attempt %d; want %s, %d", u.Scope, u.Attempt, want.Scope, want.Attempt)
			case u.Left > want.Left+time.Second || u.Left < want.Left-patience:
				f.Errorf("ListUnknown returned Left %s for attempt %d, want %s", u.Left, u.Attempt, want.Left)
			}
		}
	}},
	{"ListUnknown lists no other records", func(f *fixture) {
		others := []idempotent.Claim{newClaim()}
		expired := f.begin()
		f.ok("Finish", f.finish(expired, unknown))
		f.advance(keep + slack)
		running := f.begin()
		abandoned := newClaim()
		abandoned.Lease = time.Second
		f.wantAcquired(abandoned, 1)
		f.advance(2 * slack)
		others = append(others, expired, running, abandoned)
		for _, o := range []idempotent.Completion{done("response"), notKept, released} {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			others = append(others, c)
		}
		for _, u := range f.list(100) {
			if slices.ContainsFunc(others, func(c idempotent.Claim) bool { return c.ID == u.ID }) {
				f.Errorf("ListUnknown listed a record that is not unknown: %s", u.ID)
			}
		}
	}},
	{"ListUnknown lists pages in the order of IDs", func(f *fixture) {
		enter := f.enterUnknown()
		mine := map[idempotent.ID]bool{}
		add := func(way int) {
			c := newClaim()
			if len(mine) < 2 {
				c.ID[0] = byte(0xff * len(mine)) // the order is that of unsigned bytes
			}
			f.wantAcquired(c, 1)
			enter[way](c)
			mine[c.ID] = true
		}
		for range 10 {
			add(0)
		}
		add(1)
		add(1)
		for _, limit := range []int{1, 5, 100} {
			list := f.list(limit)
			seen := map[idempotent.ID]bool{}
			for _, u := range list {
				seen[u.ID] = true
			}
			if len(list) != len(mine) || !maps.Equal(seen, mine) {
				f.Errorf("ListUnknown in pages of %d listed %d records, want the %d unknown ones", limit, len(list), len(mine))
			}
			if !slices.IsSortedFunc(list, func(a, b idempotent.UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) }) {
				f.Errorf("ListUnknown in pages of %d is not in the order of IDs", limit)
			}
		}
	}},
	{"ListUnknown without a limit lists all unknown records", func(f *fixture) {
		l := f.store.(idempotent.UnknownLister)
		for range many {
			f.begin()
		}
		f.advance(lease + slack)
		all, err := l.ListUnknown(f.Context(), idempotent.ID{}, 0)
		f.ok("ListUnknown", err)
		if len(all) != many {
			f.Fatalf("ListUnknown with the limit 0 listed %d records, want %d", len(all), many)
		}
		rest, err := l.ListUnknown(f.Context(), all[many/3-1].ID, 0)
		f.ok("ListUnknown", err)
		if !slices.EqualFunc(rest, all[many/3:], func(a, b idempotent.UnknownRecord) bool { return a.ID == b.ID }) {
			f.Errorf("ListUnknown with the limit 0, after %d of %d records, listed %d others", many/3, many, len(rest))
		}
	}},
	{"ListUnknown does not end an unknown record", func(f *fixture) {
		l := f.store.(idempotent.UnknownLister)
		f.wantOwnerGoesOn(func(c idempotent.Claim) {
			for _, limit := range []int{100, 0} {
				list, err := l.ListUnknown(f.Context(), idempotent.ID{}, limit)
				f.ok("ListUnknown", err)
				if !slices.ContainsFunc(list, func(u idempotent.UnknownRecord) bool { return u.ID == c.ID }) {
					f.Errorf("ListUnknown with the limit %d misses an unknown record", limit)
				}
			}
		})
	}},
	{"ListUnknown returns nothing of an expired record with the same ID", func(f *fixture) {
		l := f.store.(idempotent.UnknownLister)
		c := f.begin()
		f.ok("Finish", f.finish(c, unknown))
		f.advance(2 * keep) // without a Sweep
		next := rival(c)
		next.Scope[0]++
		f.wantAcquired(next, 1)
		f.ok("BeginEffect", f.beginEffect(next))
		f.advance(lease + slack)
		list, err := l.ListUnknown(f.Context(), idempotent.ID{}, 10)
		f.ok("ListUnknown", err)
		if len(list) != 1 || list[0].ID != next.ID {
			f.Fatalf("ListUnknown listed %d records, want the new one only", len(list))
		}
		if u := list[0]; u.Scope != next.Scope || u.Attempt != 1 || u.Left > keep-lease || u.Left < keep-lease-slack-patience {
			f.Errorf("ListUnknown returned Scope %s, Attempt %d, Left %s; want %s, 1, %s",
				u.Scope, u.Attempt, u.Left, next.Scope, keep-lease-slack)
		}
	}},
	{"ListUnknown lists records until they are resolved", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		var mine []idempotent.Claim
		for _, enter := range f.enterUnknown() {
			c := newClaim()
			f.wantAcquired(c, 1)
			enter(c)
			mine = append(mine, c)
		}
		listed := func(c idempotent.Claim) bool {
			return slices.ContainsFunc(f.list(10), func(u idempotent.UnknownRecord) bool { return u.ID == c.ID })
		}
		for _, c := range mine {
			if !listed(c) {
				f.Error("ListUnknown misses an unknown record")
			}
			f.ok("Resolve", r.Resolve(f.Context(), c.ID, done("resolved")))
			if listed(c) {
				f.Error("ListUnknown listed a resolved record")
			}
		}
	}},
}

// list returns all unknown records, page by page.
func (f *fixture) list(limit int) (all []idempotent.UnknownRecord) {
	f.Helper()
	l := f.store.(idempotent.UnknownLister)
	var after idempotent.ID
	for range 10_000 {
		page, err := l.ListUnknown(f.Context(), after, limit)
		f.ok("ListUnknown", err)
		if len(page) > limit {
			f.Fatalf("ListUnknown with the limit %d returned %d records", limit, len(page))
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
	f.Fatal("ListUnknown returned 10,000 pages, none of them empty")
	return nil
}
