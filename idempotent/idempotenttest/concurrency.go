package idempotenttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// concurrency: each operation is one atomic step.
var concurrency = []testCase{
	{"one of many acquires", func(f *fixture) {
		c := newClaim()
		for attempt := 1; attempt <= 3; attempt++ { // absent, then two takeovers
			won := f.race(64, func(int) bool {
				v := f.acquire(rival(c))
				switch {
				case v.State == idempotent.Acquired && v.Attempt == attempt:
					return true
				case v.State != idempotent.InFlight:
					f.Errorf("Acquire: %s, attempt %d", v.State, v.Attempt)
				}
				return false
			})
			if won != 1 {
				f.Fatalf("attempt %d: %d have acquired", attempt, won)
			}
			f.advance(lease + time.Second)
		}
	}},
	{"one of many prints acquires", func(f *fixture) {
		c := newClaim()
		won := f.race(64, func(i int) bool {
			mine := rival(c)
			mine.Print[1] = byte(i)
			return f.acquire(mine).State == idempotent.Acquired
		})
		if won != 1 {
			f.Fatalf("%d have acquired", won)
		}
	}},
	{"many repetitions by one owner", func(f *fixture) {
		c := newClaim()
		won := f.race(32, func(int) bool {
			v := f.acquire(c)
			return v.State == idempotent.Acquired && v.Attempt == 1
		})
		if won != 32 {
			f.Fatalf("%d of 32 have acquired", won)
		}
		finished := f.race(32, func(int) bool { return f.finish(c, done("response")) == nil })
		if finished != 32 {
			f.Fatalf("%d of 32 have finished", finished)
		}
		f.wantOutcome(c, done("response"))
	}},
	{"zombie against its successor", func(f *fixture) {
		for range 20 {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease + time.Second)
			next := rival(c)
			f.wantAcquired(next, 2)
			f.race(8, func(i int) bool {
				if i == 0 {
					f.ok("Finish", f.finish(next, done("next")))
				} else {
					f.lost("Finish", f.finish(c, outcomes()[i%4]))
				}
				return true
			})
			f.wantOutcome(c, done("next"))
		}
	}},
	{"late owner against a takeover", func(f *fixture) {
		for i := range 40 {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease + time.Second)
			next := rival(c)
			var v idempotent.Verdict
			var err error
			f.race(2, func(j int) bool {
				if j == i%2 {
					v = f.acquire(next)
				} else {
					err = f.finish(c, done("late"))
				}
				return true
			})
			switch v.State {
			case idempotent.Acquired:
				f.lost("Finish", err)
				f.want(rival(c), idempotent.InFlight)
			case idempotent.Done:
				f.ok("Finish", err)
				f.wantOutcome(c, done("late"))
			default:
				f.Fatalf("Acquire: %s", v.State)
			}
		}
	}},
	{"mark against a takeover", func(f *fixture) {
		for i := range 40 {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease + time.Second)
			var v idempotent.Verdict
			var err error
			f.race(2, func(j int) bool {
				if j == i%2 {
					v = f.acquire(rival(c))
				} else {
					err = f.mark(c)
				}
				return true
			})
			switch v.State {
			case idempotent.Acquired:
				f.lost("Mark", err)
			case idempotent.Unknown:
				f.ok("Mark", err)
			default:
				f.Fatalf("Acquire: %s", v.State)
			}
		}
	}},
	{"sweep under load", func(f *fixture) {
		s, ok := f.store.(idempotent.Sweeper)
		if !ok {
			return
		}
		claims := make([]idempotent.Claim, 200)
		for i := range claims {
			claims[i] = newClaim()
			f.wantAcquired(claims[i], 1)
			f.ok("Finish", f.finish(claims[i], done("old")))
		}
		f.advance(keep + time.Second)
		f.race(8, func(i int) bool {
			if i%2 == 0 {
				for range 20 {
					_, err := s.Sweep(f.ctx(), 10)
					f.ok("Sweep", err)
				}
				return true
			}
			for j := i / 2; j < len(claims); j += 4 {
				next := rival(claims[j])
				f.wantAcquired(next, 1)
				f.ok("Mark", f.mark(next))
				f.ok("Finish", f.finish(next, done(fmt.Sprint(j))))
			}
			return true
		})
		for j, c := range claims {
			f.wantOutcome(c, done(fmt.Sprint(j)))
		}
	}},
	{"cancelled context leaves no half", func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx())
		cancel()
		c := newClaim()
		if v, err := f.store.Acquire(ctx, c); err == nil && v.State != idempotent.Acquired {
			f.Fatalf("Acquire: %s", v.State)
		}
		f.wantAcquired(c, 1) // whatever became of the first
		f.notLost("Renew", f.store.Renew(ctx, c.Own(), lease))
		f.notLost("Mark", f.store.Mark(ctx, c.Own()))
		f.ok("Mark", f.mark(c))
		f.notLost("Finish", f.store.Finish(ctx, c.Own(), done("response")))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantOutcome(c, done("response"))
	}},
	{"each of many ids has one answer", func(f *fixture) {
		const ids, owners = 20, 8
		claims := make([]idempotent.Claim, ids)
		for i := range claims {
			claims[i] = newClaim()
		}
		var runs [ids]atomic.Int64
		f.race(owners, func(owner int) bool {
			for i := range claims {
				i = (i + owner*3) % ids
				c := rival(claims[i])
				for start := time.Now(); ; {
					v := f.acquire(c)
					if v.State == idempotent.InFlight {
						if time.Since(start) > patience {
							f.Fatalf("id %d: still %s", i, v.State)
						}
						continue
					}
					if v.State == idempotent.Acquired {
						runs[i].Add(1)
						f.ok("Renew", f.renew(c))
						f.ok("Finish", f.finish(c, done(fmt.Sprint(i))))
					} else if string(v.Record) != fmt.Sprint(i) {
						f.Errorf("id %d: %s, record %q", i, v.State, v.Record)
					}
					break
				}
			}
			return true
		})
		for i := range runs {
			if n := runs[i].Load(); n != 1 {
				f.Errorf("id %d was run %d times", i, n)
			}
		}
	}},
}

// race runs n at once and tells how many returned true. A run that fails ends alone; the test ends when all have.
func (f *fixture) race(n int, run func(i int) bool) int {
	var won atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if run(i) {
				won.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if f.Failed() {
		f.FailNow()
	}
	return int(won.Load())
}

// notLost accepts success and any failure but that the owner has lost.
func (f *fixture) notLost(op string, err error) {
	f.Helper()
	if errors.Is(err, idempotent.ErrLost) {
		f.Fatalf("%s: %v", op, err)
	}
}
