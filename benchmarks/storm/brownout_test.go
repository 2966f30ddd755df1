package storm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// A trouble is a period in which a server does not work well. The server works before and
// after it.
type trouble struct {
	name string
	set  func(s *Server, from time.Time)
}

func slow(lasts time.Duration) trouble {
	return trouble{fmt.Sprintf("slow for %v", lasts), func(s *Server, from time.Time) {
		s.Slow.From, s.Slow.For, s.Slow.Factor = from, lasts, 10
	}}
}

func down(lasts time.Duration, hangs bool) trouble {
	name := "refusing"
	if hangs {
		name = "hanging"
	}
	return trouble{fmt.Sprintf("%s for %v", name, lasts), func(s *Server, from time.Time) {
		s.Down.From, s.Down.For, s.Down.Hangs = from, lasts, hangs
	}}
}

// observed has the times at which one process of a client saw the trouble, counted from
// the start.
type observed struct {
	failing  time.Duration   // when attempts began to fail, before the circuit first opened
	opened   time.Duration   // 0 if never
	closings []time.Duration // when the circuit closed
}

// run is the result of a brown-out.
type run struct {
	calls, good         int
	calledIn, attemptIn int             // during the trouble
	arrivals            []time.Duration // of attempts
	well                time.Duration   // when the server had caught up after the trouble
	processes           []observed
}

// healthy is the time before the trouble, and after is the time from the end of the
// trouble to the end of the run.
const (
	healthy = 4 * time.Second
	after   = 11 * time.Second
)

// brownOut makes 350 calls a second, whether or not earlier ones have ended, to a server
// with 5 workers that take 10 ms for a request. The server has 600 places in its queue,
// and processes requests even if their clients have gone. An attempt times out after a
// second.
func brownOut(ctx context.Context, c Client, tr trouble, processes int, seed uint64) run {
	const rate = 350
	var (
		mu    sync.Mutex
		r     = run{processes: make([]observed, processes)}
		rng   = rand.New(rand.NewPCG(seed, 4))
		start = time.Now()
		s     = NewServer(seed, 5, 10*time.Millisecond, time.Hour)
	)
	s.MaxQueue, s.Timeout = 600, time.Second
	tr.set(s, start.Add(healthy))
	lasts := max(s.Slow.For, s.Down.For)
	transports := make([]http.RoundTripper, processes)
	for i := range transports {
		transports[i] = c.New(s)
		if t, ok := transports[i].(*retry.Transport); ok {
			t.Observe = func(_ context.Context, e retry.Event) {
				mu.Lock()
				defer mu.Unlock()
				p, now := &r.processes[i], time.Since(start)
				switch {
				case e.Kind == retry.KindAttempt && p.opened == 0 && e.Attempt.Status == http.StatusOK:
					p.failing = 0
				case e.Kind == retry.KindAttempt && p.opened == 0 && p.failing == 0:
					p.failing = now
				case e.Kind == retry.KindCircuit && e.To == retry.StateOpen && p.opened == 0:
					p.opened = now
				case e.Kind == retry.KindCircuit && e.To == retry.StateClosed:
					p.closings = append(p.closings, now)
				}
			}
		}
	}
	end := healthy + lasts + after
	var work sync.WaitGroup
	work.Go(func() {
		time.Sleep(healthy + lasts)
		for s.Takes() > 100*time.Millisecond && time.Since(start) < end {
			time.Sleep(time.Millisecond)
		}
		r.well = time.Since(start)
	})
	for {
		time.Sleep(time.Duration(rng.ExpFloat64() / rate * float64(time.Second)))
		at := time.Since(start)
		if at >= end {
			break
		}
		transport := transports[rng.IntN(processes)]
		work.Go(func() {
			good := call(ctx, transport)
			mu.Lock()
			defer mu.Unlock()
			r.calls++
			if good {
				r.good++
			}
			if at >= healthy && at < healthy+lasts {
				r.calledIn++
			}
		})
	}
	work.Wait()
	for _, at := range s.Arrivals() {
		at := at.Sub(start)
		r.arrivals = append(r.arrivals, at)
		if at >= healthy && at < healthy+lasts {
			r.attemptIn++
		}
	}
	return r
}

// TestBrownOut checks the purpose of the Breaker's defaults. A host on which everything
// fails is recognized within a second, then gets little load, and is used again within a
// second after it works. If the server is only slow, there are at least as many good
// answers as with a client that does not retry, except that many processes lose up to 3%
// of them in a short period. If the server does not answer at all, up to 7% are lost.
func TestBrownOut(t *testing.T) {
	t.Parallel()
	const seeds = 3
	for _, tc := range []struct {
		trouble   trouble
		processes int
		good      float64 // the least number of good answers, relative to a client that does not retry
	}{
		{slow(2 * time.Second), 1, 1},
		{slow(2 * time.Second), 10, 0.97},
		{slow(5 * time.Second), 1, 1},
		{slow(5 * time.Second), 10, 0.99},
		{slow(15 * time.Second), 1, 1},
		{slow(15 * time.Second), 10, 1},
		{slow(60 * time.Second), 1, 1},
		{slow(60 * time.Second), 10, 1},
		{down(5*time.Second, false), 1, 0.93},
		{down(5*time.Second, false), 10, 0.93},
		{down(60*time.Second, true), 1, 0.93},
		{down(60*time.Second, true), 10, 0.93},
	} {
		t.Run(fmt.Sprintf("%s, %d processes", tc.trouble.name, tc.processes), func(t *testing.T) {
			t.Parallel()
			without, with := 0, 0
			for seed := range uint64(seeds) {
				var plain, ours run
				synctest.Test(t, func(t *testing.T) {
					plain = brownOut(t.Context(), client("no retries"), tc.trouble, tc.processes, seed)
				})
				synctest.Test(t, func(t *testing.T) {
					ours = brownOut(t.Context(), client("seawall"), tc.trouble, tc.processes, seed)
				})
				without, with = without+plain.good, with+ours.good
				checkBrownOut(t, plain, ours)
			}
			require.GreaterOrEqual(t, float64(with), tc.good*float64(without))
		})
	}
}

func client(name string) Client {
	for _, c := range Clients() {
		if c.Name == name {
			return c
		}
	}
	panic("no client " + name)
}

func checkBrownOut(t *testing.T, plain, ours run) {
	t.Helper()
	load := float64(ours.attemptIn) / float64(ours.calledIn)
	var recognized, back time.Duration
	herd := 0
	for _, p := range ours.processes {
		require.NotZero(t, p.opened)
		require.NotEmpty(t, p.closings)
		recognized = max(recognized, p.opened-p.failing)
		back = max(back, p.closings[len(p.closings)-1]-ours.well)
		for _, closed := range p.closings {
			n := 0
			for _, at := range ours.arrivals {
				if at > closed && at <= closed+100*time.Millisecond {
					n++
				}
			}
			herd = max(herd, n)
		}
	}
	t.Logf("%d of %d calls good, without retries %d; load %.2f; recognized in %v; "+
		"well at %v, back in %v; at most %d in 100 ms",
		ours.good, ours.calls, plain.good, load, recognized.Round(time.Millisecond),
		ours.well.Round(time.Millisecond), back.Round(time.Millisecond), herd)
	require.LessOrEqual(t, load, 1.1)
	require.LessOrEqual(t, recognized, time.Second)
	require.LessOrEqual(t, back, 1100*time.Millisecond) // a second, and the answer
	require.LessOrEqual(t, herd, 90, "35 calls are made in that time")
}

// TestPartialOutageOpensNoCircuit lets three of ten requests fail.
func TestPartialOutageOpensNoCircuit(t *testing.T) {
	t.Parallel()
	for _, processes := range []int{1, 10} {
		for seed := range uint64(3) {
			synctest.Test(t, func(t *testing.T) {
				partial := trouble{"three of ten fail", func(s *Server, from time.Time) {
					s.FailureRate, s.FailsFrom = 0.3, from
					s.Slow.For, s.Slow.Factor = 20*time.Second, 1 // the length of the run
				}}
				r := brownOut(t.Context(), client("seawall"), partial, processes, seed)
				for _, p := range r.processes {
					require.Zero(t, p.opened)
				}
			})
		}
	}
}
