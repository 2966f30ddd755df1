package idempotenttest

import (
	"fmt"

	"github.com/seawall-go/seawall/idempotent"
)

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
