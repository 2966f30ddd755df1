package retry_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
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
		var changes []retry.BreakerState
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.EventBreaker {
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
		require.Equal(t, "api.example:443", open.Host)
		require.Equal(t, opened.Add(5*time.Second), open.Until)
		require.Equal(t, 20, base.calls)
		require.NoError(t, do(t, tr, "https://api.example:8443/"), "another port is another circuit")
		require.ErrorIs(t, do(t, tr, "https://API.example:443/"), retry.ErrCircuitOpen, "the same host, spelled otherwise")

		time.Sleep(5 * time.Second)
		require.NoError(t, do(t, tr, target), "the probe, answered 503")
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)

		time.Sleep(5 * time.Second)
		base.set(200)
		for range 3 {
			require.NoError(t, do(t, tr, target))
		}
		require.Equal(t, []retry.BreakerState{
			"closed", "open", "open", "half-open", "half-open", "open", "open", "half-open", "half-open", "closed",
		}, changes)
	})
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
	time.Sleep(5 * time.Second)
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

func TestAHungProbeIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var next http.RoundTripper = baseFunc(func(*http.Request) (*http.Response, error) { <-release; return answer(200, ""), nil })
		tr := open(t, &retry.Breaker{ProbeTimeout: 8 * time.Second}, &next)
		probed := time.Now()
		hung := make(chan error)
		go func() { hung <- do(t, tr, target) }()
		synctest.Wait()

		next = scripted(status(200))
		err := do(t, tr, target)
		refused, ok := errors.AsType[*retry.CircuitOpenError](err)
		require.True(t, ok, "one probe at a time: %v", err)
		require.Equal(t, probed.Add(8*time.Second), refused.Until)

		time.Sleep(8*time.Second + 1)
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen, "the hung probe counts as failed: open again")
		time.Sleep(5 * time.Second)
		require.NoError(t, do(t, tr, target), "a new probe")
		require.NoError(t, do(t, tr, target))

		close(release)
		require.NoError(t, <-hung)
		require.NoError(t, do(t, tr, target), "the late answer changes nothing")
	})
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
		tr.Policy = &retry.Policy{MaxAttempts: 50, Budget: &retry.Budget{Tokens: -1}, Jitter: func(time.Duration) time.Duration { return 0 }}
		ctx, report := retry.WithReport(t.Context())
		start := time.Now()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.Equal(t, 20, base.calls)
		require.Equal(t, retry.CircuitOpen, report.Reason())
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
			if e.Kind == retry.EventBreaker {
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
		tr.Breaker = &retry.Breaker{MinCalls: 3, MaxHosts: 2}
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

func TestARefusalNamesTheProbeThatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var next http.RoundTripper = scripted(status(429))
		tr := open(t, nil, &next)
		require.NoError(t, do(t, tr, target), "a probe that says nothing and is over")
		time.Sleep(time.Second)
		next = baseFunc(func(*http.Request) (*http.Response, error) { <-release; return answer(200, ""), nil })
		probed := time.Now()
		probe := make(chan error)
		go func() { probe <- do(t, tr, target) }()
		synctest.Wait()

		refused, ok := errors.AsType[*retry.CircuitOpenError](do(t, tr, target))

		require.True(t, ok)
		require.Equal(t, probed.Add(30*time.Second), refused.Until)
		close(release)
		require.NoError(t, <-probe)
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
	tr.Breaker = &retry.Breaker{MinCalls: 3, MaxHosts: 4, FailureRatio: 1}
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
		tr.Breaker = &retry.Breaker{MinCalls: 1, MaxHosts: 1}
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
		var changes []retry.BreakerState
		tr := transport(scripted(status(503, "Retry-After: 2"), status(200)))
		tr.Breaker = &retry.Breaker{MinCalls: 1, OpenFor: time.Second}
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.EventBreaker {
				changes = append(changes, e.From, e.To)
			}
		}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, []retry.BreakerState{"closed", "open", "open", "half-open", "half-open", "closed"}, changes)
	})
}
