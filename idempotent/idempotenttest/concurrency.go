package idempotenttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seawall-go/seawall/idempotent"
)

// concurrency checks that each operation is one atomic step.
var concurrency = []testCase{
	{"only one of many concurrent claims acquires", func(f *fixture) {
		c := newClaim()
		for attempt := 1; attempt <= 3; attempt++ { // absent, then two takeovers
			won := f.race(64, func(int) bool {
				d := f.acquire(rival(c))
				switch {
				case d.Verdict == idempotent.VerdictAcquired && d.Attempt == attempt:
					return true
				case d.Verdict != idempotent.VerdictRunning:
					f.Errorf("Acquire returned %s, attempt %d; want %s, or %s with attempt %d",
						d.Verdict, d.Attempt, idempotent.VerdictRunning, idempotent.VerdictAcquired, attempt)
				}
				return false
			})
			if won != 1 {
				f.Fatalf("attempt %d: %d of 64 claims acquired the record, want 1", attempt, won)
			}
			f.advance(lease + slack)
		}
	}},
	{"only one of many concurrent fingerprints acquires", func(f *fixture) {
		c := newClaim()
		won := f.race(64, func(i int) bool {
			mine := rival(c)
			mine.Fingerprint[1] = byte(i)
			d := f.acquire(mine)
			if d.Verdict != idempotent.VerdictAcquired && d.Verdict != idempotent.VerdictMismatch {
				f.Errorf("Acquire returned %s, want %s or %s", d.Verdict, idempotent.VerdictAcquired, idempotent.VerdictMismatch)
			}
			return d.Verdict == idempotent.VerdictAcquired
		})
		if won != 1 {
			f.Fatalf("%d of 64 claims acquired the record, want 1", won)
		}
	}},
	{"one owner repeats Acquire and Finish concurrently", func(f *fixture) {
		c := newClaim()
		won := f.race(32, func(int) bool {
			d := f.acquire(c)
			return d.Verdict == idempotent.VerdictAcquired && d.Attempt == 1
		})
		if won != 32 {
			f.Fatalf("%d of 32 repeated claims acquired the record, want all", won)
		}
		finished := f.race(32, func(int) bool { return f.finish(c, done("response")) == nil })
		if finished != 32 {
			f.Fatalf("%d of 32 repeated calls of Finish succeeded, want all", finished)
		}
		f.wantCompletion(c, done("response"))
	}},
	{"a paused owner races with its successor", func(f *fixture) {
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
	{"a late Finish races with a takeover", func(f *fixture) {
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
				f.Fatalf("Acquire returned %s", d.Verdict)
			}
		}
	}},
	{"a late BeginEffect races with a takeover", func(f *fixture) {
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
				f.Fatalf("Acquire returned %s", d.Verdict)
			}
		}
	}},
	{"a canceled call takes effect completely or not at all", func(f *fixture) {
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		c := newClaim()
		if d, err := f.store.Acquire(ctx, c); err == nil && d.Verdict != idempotent.VerdictAcquired {
			f.Fatalf("Acquire with a canceled context returned %s", d.Verdict)
		}
		f.wantAcquired(c, 1) // whether the first one took effect or not
		f.notLost("Renew", f.store.Renew(ctx, c.Owner(), lease))
		f.notLost("BeginEffect", f.store.BeginEffect(ctx, c.Owner()))
		f.ok("BeginEffect", f.beginEffect(c))
		f.notLost("Finish", f.store.Finish(ctx, c.Owner(), done("response")))
		f.ok("Finish", f.finish(c, done("response")))
		f.wantCompletion(c, done("response"))
	}},
	{"each of many records is run once", func(f *fixture) {
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
					f.Errorf("record %d: Acquire returned %s, response %q; want %s, response %q",
						i, d.Verdict, d.Response, idempotent.VerdictDone, fmt.Sprint(i))
				}
			}
			return true
		})
		for i := range runs {
			if n := runs[i].Load(); n != 1 {
				f.Errorf("record %d was run %d times, want 1", i, n)
			}
		}
	}},
}

// race calls run n times concurrently, and returns how many calls returned true. It ends the test
// if one has failed.
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

// notLost accepts success and any error but ErrLost.
func (f *fixture) notLost(op string, err error) {
	f.Helper()
	if errors.Is(err, idempotent.ErrLost) {
		f.Fatalf("%s by the owner, with a canceled context, returned ErrLost", op)
	}
}
