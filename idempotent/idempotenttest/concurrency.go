package idempotenttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seawall-go/seawall/idempotent"
)

// concurrency: each operation is one atomic step.
var concurrency = []testCase{
	{"one of many acquires", func(f *fixture) {
		c := newClaim()
		for attempt := 1; attempt <= 3; attempt++ { // absent, then two takeovers
			won := f.race(64, func(int) bool {
				d := f.acquire(rival(c))
				switch {
				case d.Verdict == idempotent.VerdictAcquired && d.Attempt == attempt:
					return true
				case d.Verdict != idempotent.VerdictRunning:
					f.Errorf("Acquire: %s, attempt %d", d.Verdict, d.Attempt)
				}
				return false
			})
			if won != 1 {
				f.Fatalf("attempt %d: %d have acquired", attempt, won)
			}
			f.advance(lease + slack)
		}
	}},
	{"one of many fingerprints acquires", func(f *fixture) {
		c := newClaim()
		won := f.race(64, func(i int) bool {
			mine := rival(c)
			mine.Fingerprint[1] = byte(i)
			d := f.acquire(mine)
			if d.Verdict != idempotent.VerdictAcquired && d.Verdict != idempotent.VerdictMismatch {
				f.Errorf("Acquire: %s", d.Verdict)
			}
			return d.Verdict == idempotent.VerdictAcquired
		})
		if won != 1 {
			f.Fatalf("%d have acquired", won)
		}
	}},
	{"many repetitions by one owner", func(f *fixture) {
		c := newClaim()
		won := f.race(32, func(int) bool {
			d := f.acquire(c)
			return d.Verdict == idempotent.VerdictAcquired && d.Attempt == 1
		})
		if won != 32 {
			f.Fatalf("%d of 32 have acquired", won)
		}
		finished := f.race(32, func(int) bool { return f.finish(c, done("response")) == nil })
		if finished != 32 {
			f.Fatalf("%d of 32 have finished", finished)
		}
		f.wantCompletion(c, done("response"))
	}},
	{"a paused owner against its successor", func(f *fixture) {
		for range 20 {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease + slack)
			next := rival(c)
			f.wantAcquired(next, 2)
			f.race(8, func(i int) bool {
				if i == 0 {
					f.ok("Finish", f.finish(next, done("next")))
				} else {
					f.lost("Finish", f.finish(c, completions()[i%4]))
				}
				return true
			})
			f.wantCompletion(c, done("next"))
		}
	}},
	{"a late Finish against a takeover", func(f *fixture) {
		for i := range 40 {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease + slack)
			var d idempotent.Decision
			var err error
			f.race(2, func(j int) bool {
				if j == i%2 {
					d = f.acquire(rival(c))
				} else {
					err = f.finish(c, done("late"))
				}
				return true
			})
			switch d.Verdict {
			case idempotent.VerdictAcquired:
				f.lost("Finish", err)
				f.want(rival(c), idempotent.VerdictRunning)
			case idempotent.VerdictDone:
				f.ok("Finish", err)
				f.wantCompletion(c, done("late"))
			default:
				f.Fatalf("Acquire: %s", d.Verdict)
			}
		}
	}},
	{"a late BeginEffect against a takeover", func(f *fixture) {
		for i := range 40 {
			c := newClaim()
			f.wantAcquired(c, 1)
			f.advance(lease + slack)
			var d idempotent.Decision
			var err error
			f.race(2, func(j int) bool {
				if j == i%2 {
					d = f.acquire(rival(c))
				} else {
					err = f.beginEffect(c)
				}
				return true
			})
			switch d.Verdict {
			case idempotent.VerdictAcquired:
				f.lost("BeginEffect", err)
			case idempotent.VerdictUnknown:
				f.ok("BeginEffect", err)
			default:
				f.Fatalf("Acquire: %s", d.Verdict)
			}
		}
	}},
	{"a canceled context leaves no half", func(f *fixture) {
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		c := newClaim()
		if d, err := f.store.Acquire(ctx, c); err == nil && d.Verdict != idempotent.VerdictAcquired {
			f.Fatalf("Acquire: %s", d.Verdict)
		}
		f.wantAcquired(c, 1) // whatever became of the first
		f.notLost("Renew", f.store.Renew(ctx, c.Owner(), lease))
		f.notLost("BeginEffect", f.store.BeginEffect(ctx, c.Owner()))
		f.ok("BeginEffect", f.beginEffect(c))
		f.notLost("Finish", f.store.Finish(ctx, c.Owner(), done("response")))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantCompletion(c, done("response"))
	}},
	{"each of many IDs is run once", func(f *fixture) {
		const ids, owners = 20, 8
		claims := make([]idempotent.Claim, ids)
		for i := range claims {
			claims[i] = newClaim()
		}
		var runs [ids]atomic.Int64
		ctx, cancel := context.WithTimeout(f.Context(), patience)
		defer cancel()
		f.race(owners, func(owner int) bool {
			for i := range claims {
				i = (i + owner*3) % ids
				c := rival(claims[i])
				d := f.acquire(c)
				for d.Verdict == idempotent.VerdictRunning && ctx.Err() == nil {
					d = f.acquire(c)
				}
				switch {
				case d.Verdict == idempotent.VerdictAcquired:
					runs[i].Add(1)
					f.ok("Renew", f.renew(c))
					f.ok("Finish", f.finish(c, done(fmt.Sprint(i))))
				case d.Verdict != idempotent.VerdictDone || string(d.Response) != fmt.Sprint(i):
					f.Errorf("record %d: %s, response %q", i, d.Verdict, d.Response)
				}
			}
			return true
		})
		for i := range runs {
			if n := runs[i].Load(); n != 1 {
				f.Errorf("record %d was run %d times", i, n)
			}
		}
	}},
}

// race calls run n times at the same time and returns how many were true. A call that fails ends by
// itself, and the test ends once all have.
func (f *fixture) race(n int, run func(i int) bool) int {
	f.Helper()
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

// notLost accepts success, and any failure but ErrLost.
func (f *fixture) notLost(op string, err error) {
	f.Helper()
	if errors.Is(err, idempotent.ErrLost) {
		f.Fatalf("%s: %v", op, err)
	}
}
