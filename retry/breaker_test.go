package retry_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// once is a policy without retries, so that every call is one attempt.
func once() *retry.Policy { return &retry.Policy{MaxAttempts: 1} }

// do sends one request, closes the response and returns the error.
func do(t testing.TB, tr http.RoundTripper, url string) error {
	t.Helper()
	resp, err := tr.RoundTrip(request(t, "GET", url, nil))
	if resp != nil {
		resp.Body.Close()
	}
	return err
}

// dead is a base that answers with status until the test changes it.
type dead struct {
	mu     sync.Mutex
	status int
	calls  int
}

func (d *dead) set(status int) { d.mu.Lock(); d.status = status; d.mu.Unlock() }

func (d *dead) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	return answer(d.status, ""), nil
}

func TestTheDefaultBreakerOpensProbesAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 200}
		tr := transport(base)
		tr.Policy = once()
		var changes []retry.State
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.KindCircuit {
				changes = append(changes, e.From, e.To)
			}
		}
		for range 10 {
			require.NoError(t, do(t, tr, target))
		}
		base.set(503)
		for range 10 {
			require.NoError(t, do(t, tr, target))
		}
		require.Equal(t, 20, base.calls)
		opened := time.Now()

		err := do(t, tr, target)

		require.ErrorIs(t, err, retry.ErrCircuitOpen)
		open, ok := errors.AsType[*retry.CircuitOpenError](err)
		require.True(t, ok)
		require.Equal(t, "https://api.example:443", open.Group)
		require.Equal(t, "api.example:443", open.Host)
		require.Greater(t, open.Until, opened.Add(100*time.Millisecond))
		require.LessOrEqual(t, open.Until, opened.Add(200*time.Millisecond))
		require.Equal(t, 20, base.calls)
		require.NoError(t, do(t, tr, "https://api.example:8443/"), "another port is another circuit")
		require.ErrorIs(t, do(t, tr, "https://API.example:443/"), retry.ErrCircuitOpen, "the same host, spelled otherwise")

		time.Sleep(200 * time.Millisecond)
		require.NoError(t, do(t, tr, target), "the probe, answered 503")
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)

		time.Sleep(400 * time.Millisecond)
		base.set(200)
		for range 3 {
			require.NoError(t, do(t, tr, target))
		}
		require.Equal(t, []retry.State{
			"closed", "open", "open", "half-open", "half-open", "open", "open", "half-open", "half-open", "closed",
		}, changes)
	})
}

func TestADeadHostIsProbedSoonAndThenLessAndLessOften(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		breaker *retry.Breaker
		want    []int // the longest time before each probe, in ms
	}{
		{"the default", &retry.Breaker{}, []int{200, 400, 800, 1000, 1000, 1000}},
		{"the same interval", &retry.Breaker{ProbeAfter: 700 * time.Millisecond, ProbeEvery: 1}, []int{700, 700, 700}},
		{"a longer first one", &retry.Breaker{ProbeAfter: 3 * time.Second}, []int{3000, 3000, 3000}},
		{"a shorter longest one", &retry.Breaker{ProbeEvery: 50 * time.Millisecond}, []int{50, 50, 50}},
		{"a long longest one", &retry.Breaker{ProbeEvery: 5 * time.Second}, []int{200, 400, 800, 1600, 3200, 5000, 5000}},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{status: 503}
			tr := transport(base)
			tr.Policy, tr.Breaker = once(), tc.breaker
			for range 20 {
				require.NoError(t, do(t, tr, target))
			}
			varies := false
			for i, ms := range tc.want {
				longest := time.Duration(ms) * time.Millisecond
				last := time.Now()
				for before := base.calls; base.calls == before; time.Sleep(time.Millisecond) {
					_ = do(t, tr, target)
				}
				waited := time.Since(last)
				require.GreaterOrEqual(t, waited, longest/2, "%s: probe %d", tc.name, i)
				require.LessOrEqual(t, waited, longest+2*time.Millisecond, "%s: probe %d", tc.name, i)
				varies = varies || waited < longest-time.Millisecond
			}
			require.True(t, varies, "%s: many processes would probe in step", tc.name)
		})
	}
}

func TestACircuitThatOpensAgainSoonGoesOnWithItsInterval(t *testing.T) {
	t.Parallel()
	for well, most := range map[time.Duration]time.Duration{
		9 * time.Second:  40 * time.Second,
		10 * time.Second: 200 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{status: 503}
			tr := transport(base)
			tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: 1, ProbeEvery: 40 * time.Second}
			require.NoError(t, do(t, tr, target))
			for range 8 {
				time.Sleep(40 * time.Second)
				require.NoError(t, do(t, tr, target))
			}
			base.set(200)
			time.Sleep(40 * time.Second)
			require.NoError(t, do(t, tr, target))

			time.Sleep(well)
			base.set(503)
			require.NoError(t, do(t, tr, target))
			opened := time.Now()

			until := tr.Breaker.Circuit(targetGroup).Until
			require.GreaterOrEqual(t, until.Sub(opened), most/2)
			require.LessOrEqual(t, until.Sub(opened), most)
		})
	}
}

func TestAnOutageIsRecognizedHoweverManySuccessesCameBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 200}
		tr := transport(base)
		tr.Policy = once()
		for range 5000 {
			require.NoError(t, do(t, tr, target))
			time.Sleep(time.Millisecond)
		}
		base.set(503)
		fails := 0
		for ; do(t, tr, target) == nil; fails++ {
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 101, fails, "a tenth of a second of them")
	})
}

func TestHowManyFailuresInARowOpenACircuit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		minCalls, good, failed int // before the row
		want                   int
	}{
		{0, 1000, 0, 10},
		{0, 700, 300, 15},
		{0, 510, 490, 20},
		{100, 1000, 0, 50},
		{-1, 1000, 0, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{}
			tr := transport(base)
			tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: tc.minCalls, FailureRatio: 0.9}
			if tc.minCalls < 0 {
				base.set(200)
				require.NoError(t, do(t, tr, target)) // not the first, which opens it alone
			}
			for i := range tc.good + tc.failed {
				base.set(200)
				if i >= tc.good-1 && i < tc.good-1+tc.failed { // one success ends that row
					base.set(503)
				}
				require.NoError(t, do(t, tr, target))
			}
			base.set(503)
			row := 0
			for ; do(t, tr, target) == nil; row++ {
				time.Sleep(50 * time.Millisecond)
			}
			require.Equal(t, tc.want, row, "%+v", tc)
		})
	}
}

func TestWhatDoesNotOpenACircuit(t *testing.T) {
	t.Parallel()
	type phase struct {
		status, calls int
		every         time.Duration
	}
	for _, tc := range []struct {
		name   string
		phases []phase
	}{
		{"many connections that break in one moment", []phase{{200, 1000, time.Millisecond}, {503, 900, 0}, {200, 1, 0}}},
		{"a row of failures that is too short", []phase{{200, 300, time.Millisecond}, {503, 9, time.Second / 10}, {200, 1, 0}, {503, 9, time.Second / 10}}},
		{"a longer one after other failures", []phase{{200, 70, 0}, {503, 30, 0}, {200, 1, 0}, {503, 14, time.Second / 10}}},
		{"failures that Window has left behind", []phase{{200, 40, 0}, {503, 9, 0}, {503, 1, 12 * time.Second}, {503, 10, time.Second}}},
		{"fewer than the ratio", []phase{{200, 11, 0}, {503, 10, 0}}},
		{"fewer than MinCalls", []phase{{503, 19, time.Second / 3}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{}
			tr := transport(base)
			tr.Policy = once()
			for _, p := range tc.phases {
				base.set(p.status)
				for range p.calls {
					time.Sleep(p.every)
					require.NoError(t, do(t, tr, target), tc.name)
				}
			}
			require.NoError(t, do(t, tr, target), tc.name)
		})
	}
}

func TestWhatCountsAgainstAHost(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		opens  bool
	}{
		"500":             {status(500), true},
		"503":             {status(503), true},
		"transport error": {fails(errBroken), true},
		"429":             {status(429), false},
		"404":             {status(404), false},
		"401":             {status(401), false},
		"501":             {status(501), false},
		"200":             {status(200), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(tc.answer))
			tr.Policy = once()
			for range 40 {
				_ = do(t, tr, target)
			}
			require.Equal(t, tc.opens, errors.Is(do(t, tr, target), retry.ErrCircuitOpen), name)
		})
	}
}

func TestACallersCancellationSaysNothingOfTheHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		tr := transport(base)
		for range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, retry.ErrCircuitOpen)
		}
	})
}

func TestAttemptTimeoutsOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}))
		tr.Policy = &retry.Policy{MaxAttempts: 1, AttemptTimeout: time.Millisecond}
		for range 20 {
			require.NotErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		}
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
	})
}

// open returns a transport whose breaker has been open for so long that the next attempt is a probe. Its base is what *next
// says.
func open(t *testing.T, b *retry.Breaker, next *http.RoundTripper) *retry.Transport {
	failing := true
	tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
		if failing {
			return nil, errBroken
		}
		return (*next).RoundTrip(r)
	}))
	tr.Policy, tr.Breaker = once(), b
	for range 20 {
		require.Error(t, do(t, tr, target))
	}
	require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
	time.Sleep(200 * time.Millisecond)
	failing = false
	return tr
}

func TestAProbeThatSaysNothingFreesItsSlot(t *testing.T) {
	t.Parallel()
	ended := map[string]func(t *testing.T, tr *retry.Transport, next *http.RoundTripper){
		"cancelled": func(t *testing.T, tr *retry.Transport, next *http.RoundTripper) {
			*next = baseFunc(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		},
		"limited": func(t *testing.T, tr *retry.Transport, next *http.RoundTripper) {
			*next = scripted(status(429))
			require.NoError(t, do(t, tr, target))
		},
		"panicked": func(t *testing.T, tr *retry.Transport, next *http.RoundTripper) {
			*next = baseFunc(func(*http.Request) (*http.Response, error) { panic("base") })
			require.Panics(t, func() { _ = do(t, tr, target) })
		},
		"ended its goroutine": func(t *testing.T, tr *retry.Transport, next *http.RoundTripper) {
			*next = baseFunc(func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil })
			done := make(chan struct{})
			go func() { defer close(done); _ = do(t, tr, target) }()
			<-done
		},
	}
	for name, end := range ended {
		synctest.Test(t, func(t *testing.T) {
			var next http.RoundTripper
			tr := open(t, nil, &next)

			end(t, tr, &next)

			next = scripted(status(200))
			time.Sleep(400 * time.Millisecond)
			for range 3 {
				require.NoError(t, do(t, tr, target), name)
			}
		})
	}
}

func TestAProbeAnsweredWith404ClosesTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var next http.RoundTripper = scripted(status(404))
		tr := open(t, nil, &next)

		require.NoError(t, do(t, tr, target))

		var calls sync.WaitGroup
		next = baseFunc(func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return answer(200, ""), nil })
		for range 5 {
			calls.Go(func() { require.NoError(t, do(t, tr, target)) }) // half-open would let one through
		}
		calls.Wait()
	})
}

func TestAHungProbeHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func(*http.Request) (*http.Response, error){
		"it succeeds late": status(200),
		"it fails late":    fails(errBroken),
	} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var next http.RoundTripper = baseFunc(func(r *http.Request) (*http.Response, error) { <-release; return late(r) })
			tr := open(t, nil, &next)
			var hung sync.WaitGroup
			hung.Go(func() { _ = do(t, tr, target) })
			synctest.Wait()
			require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen, "it is not its time yet")

			time.Sleep(400 * time.Millisecond)
			next = scripted(status(200))
			require.NoError(t, do(t, tr, target), "another probe")
			require.NoError(t, do(t, tr, target), "closed")

			close(release)
			hung.Wait()
			for range 3 {
				require.NoError(t, do(t, tr, target), "%s: it changes nothing", name)
			}
		})
	}
}

func TestAHostThatHangsGetsOneProbeInEveryInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		var next http.RoundTripper = baseFunc(func(r *http.Request) (*http.Response, error) {
			sent.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		tr := open(t, nil, &next)
		ctx, cancel := context.WithCancel(t.Context())
		var hung sync.WaitGroup
		for range 10_000 {
			time.Sleep(time.Millisecond)
			hung.Go(func() { _, _ = tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx)) })
		}
		require.GreaterOrEqual(t, sent.Load(), int64(10))
		require.LessOrEqual(t, sent.Load(), int64(22))
		cancel()
		hung.Wait()
	})
}

func TestAHostThatAnswersSlowlyClosesTheCircuit(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]func(*http.Request) (*http.Response, error){
		"slowly too":       func(*http.Request) (*http.Response, error) { time.Sleep(3 * time.Second); return answer(200, ""), nil },
		"with failures":    fails(errBroken),
		"with a 429":       status(429),
		"with a late fail": func(*http.Request) (*http.Response, error) { time.Sleep(5 * time.Second); return nil, errBroken },
	} {
		synctest.Test(t, func(t *testing.T) {
			var fast atomic.Bool
			var next http.RoundTripper = baseFunc(func(r *http.Request) (*http.Response, error) {
				if fast.Swap(true) {
					return others(r)
				}
				time.Sleep(3 * time.Second)
				return answer(200, ""), nil
			})
			tr := open(t, nil, &next)
			start := time.Now()
			var probes sync.WaitGroup
			for time.Since(start) < 3*time.Second {
				probes.Go(func() { _ = do(t, tr, target) })
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()

			next = scripted(status(200))
			for range 3 {
				require.NoError(t, do(t, tr, target), name)
			}
			probes.Wait()
			require.NoError(t, do(t, tr, target), name)
		})
	}
}

func TestWhatBeganBeforeTheCircuitChangedDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []stateChange
		release := make(chan struct{})
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			switch r.URL.Path {
			case "/late-success":
				<-release
			case "/late-failure":
				<-release
				return nil, errBroken
			case "/failure":
				return nil, errBroken
			}
			return answer(200, ""), nil
		}))
		tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: 2}
		tr.Observe = observeChanges(&changes)
		const host = "http://api.example"
		late := func() *sync.WaitGroup {
			var calls sync.WaitGroup
			for range 10 {
				calls.Go(func() { _ = do(t, tr, host+"/late-success") })
				calls.Go(func() { _ = do(t, tr, host+"/late-failure") })
			}
			synctest.Wait()
			return &calls
		}
		end := func(calls *sync.WaitGroup) {
			close(release)
			calls.Wait()
			release = make(chan struct{})
		}

		calls := late()
		_ = do(t, tr, host+"/failure")
		_ = do(t, tr, host+"/failure")
		end(calls)
		require.Equal(t, []stateChange{{"closed", "open"}}, changes, "in an open circuit")
		require.ErrorIs(t, do(t, tr, host), retry.ErrCircuitOpen)

		time.Sleep(200 * time.Millisecond)
		var probe sync.WaitGroup
		probe.Go(func() { _ = do(t, tr, host+"/late-failure") })
		synctest.Wait()
		time.Sleep(400 * time.Millisecond)
		require.NoError(t, do(t, tr, host))
		end(&probe)
		require.Equal(t, []stateChange{{"closed", "open"}, {"open", "half-open"}, {"half-open", "closed"}}, changes, "in one that closed")
		require.Equal(t, 0, tr.Breaker.Circuit(host+":80").Failures)

		calls = late()
		tr.Breaker.Reset(host + ":80")
		end(calls)
		require.Equal(t, retry.Circuit{Group: host + ":80", State: "closed"}, tr.Breaker.Circuit(host+":80"), "in one that was reset")
	})
}

type stateChange struct{ from, to retry.State }

func observeChanges(to *[]stateChange) func(context.Context, retry.Event) {
	return func(_ context.Context, e retry.Event) {
		if e.Kind == retry.KindCircuit {
			*to = append(*to, stateChange{e.From, e.To})
		}
	}
}

func TestABreakerCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		for range 100 {
			require.NotErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		}
	})
}

func TestACircuitThatOpensHandsBackTheResponseWithoutAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 503}
		tr := transport(base)
		tr.Policy = &retry.Policy{MaxAttempts: 50, BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
		ctx, report := retry.WithReport(t.Context())
		start := time.Now()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.Equal(t, 20, base.calls)
		require.Equal(t, retry.ReasonCircuitOpen, report.Reason())
		require.Equal(t, start, time.Now())
	})
}

func TestAnObserverMayUseTheTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy = once()
		asked := 0
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.KindCircuit {
				asked++
				require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen) // asks gobreaker, whose own callback would deadlock
			}
		}
		for range 20 {
			require.Error(t, do(t, tr, target))
		}
		require.Equal(t, 1, asked)
	})
}

func TestTheCircuitUsedLongestAgoIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy = &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
		tr.Breaker = &retry.Breaker{MinCalls: 3, MaxGroups: 2}
		attempts := func(url string) int {
			err := do(t, tr, url)
			e, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			return len(e.Attempts)
		}
		require.Equal(t, 3, attempts("http://a.example"))
		require.Equal(t, 0, attempts("http://a.example"), "open")
		require.Equal(t, 3, attempts("http://b.example"))
		require.Equal(t, 0, attempts("http://a.example"), "still known")
		require.Equal(t, 3, attempts("http://c.example"))
		require.Equal(t, 0, attempts("http://a.example"), "still known: it was used after b")
		require.Equal(t, 3, attempts("http://b.example"), "forgotten, which is to say closed")
		require.Equal(t, 0, attempts("http://a.example"))
		require.Equal(t, 0, attempts("http://b.example"))
		require.Equal(t, 3, attempts("http://c.example"))
		require.Equal(t, 0, attempts("http://b.example"), "still known: it was used after a")
		require.Equal(t, 3, attempts("http://a.example"), "forgotten")
	})
}

func TestNeutralCallsNeitherFillNorDiluteTheCount(t *testing.T) {
	t.Parallel()
	for _, neutral := range []int{429, 404} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{status: neutral}
			tr := transport(base)
			tr.Policy = once()
			for range 40 {
				require.NoError(t, do(t, tr, target))
			}
			base.set(503)
			for range 20 {
				require.NoError(t, do(t, tr, target), "fewer than 20 calls have counted")
			}
			require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen, "of those that counted, all failed")
		})
	}
}

func TestARefusalNamesTheTimeOfTheNextProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 503}
		tr := transport(base)
		tr.Policy = once()
		for range 20 {
			require.NoError(t, do(t, tr, target))
		}
		for range 10 {
			refused, ok := errors.AsType[*retry.CircuitOpenError](do(t, tr, target))
			require.True(t, ok)
			time.Sleep(time.Until(refused.Until) - 1)
			require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
			time.Sleep(time.Nanosecond)
			require.NoError(t, do(t, tr, target))
		}
	})
}

// TestARetryThatOutlastsTheOpeningIsSent is about a call that waits longer than the circuit is open.
func TestARetryThatOutlastsTheOpeningIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: 1"), status(200))
		tr := transport(base)
		tr.Breaker = &retry.Breaker{MinCalls: 1}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, 2, base.count())
	})
}

func TestHostsInTurnHaveTheirOwnCircuits(t *testing.T) {
	t.Parallel()
	tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == "http" && r.URL.Host == "a.example" {
			return nil, errBroken
		}
		return answer(200, ""), nil
	}))
	tr.Policy = once()
	tr.Breaker = &retry.Breaker{MinCalls: 3, MaxGroups: 4, FailureRatio: 1}
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 50 {
				require.Error(t, do(t, tr, "http://a.example"))
				for _, url := range []string{"https://a.example", "http://A.example:8080", "http://b.example"} {
					require.NoError(t, do(t, tr, url), url)
				}
			}
		})
	}
	calls.Wait()
	require.ErrorIs(t, do(t, tr, "HTTP://A.example:80"), retry.ErrCircuitOpen, "however it is written")
}

func TestAnAttemptThatFailsForgetsNoOtherCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "slow.example" {
				<-release
			}
			return answer(503, ""), nil
		}))
		tr.Breaker = &retry.Breaker{MinCalls: 1, MaxGroups: 1}
		tr.Policy = &retry.Policy{Budget: &retry.Budget{Tokens: 0.5}}
		slow := make(chan error)
		go func() { slow <- do(t, tr, "http://slow.example") }()
		synctest.Wait()
		require.NoError(t, do(t, tr, target))
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)

		close(release)
		require.NoError(t, <-slow)

		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
	})
}

func TestEveryChangeIsObservedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []retry.State
		tr := transport(scripted(status(503, "Retry-After: 2"), status(200)))
		tr.Breaker = &retry.Breaker{MinCalls: 1, ProbeAfter: time.Second}
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.KindCircuit {
				changes = append(changes, e.From, e.To)
			}
		}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, []retry.State{"closed", "open", "open", "half-open", "half-open", "closed"}, changes)
	})
}
