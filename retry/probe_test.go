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
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/retry"
)

// open returns a transport whose circuit is open, and whose next attempt is a probe. Its
// base is *next.
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

func TestProbesBecomeLessFrequent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		breaker *retry.Breaker
		want    []int // the longest wait for each probe, in milliseconds
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
			require.True(t, varies, "%s: no jitter", tc.name)
		})
	}
}

func TestCircuitThatOpensAgainSoonKeepsItsInterval(t *testing.T) {
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

func TestNeutralProbeIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	ended := map[string]func(t *testing.T, tr *retry.Transport, next *http.RoundTripper){
		"canceled": func(t *testing.T, tr *retry.Transport, next *http.RoundTripper) {
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

func TestProbeAnsweredWith404ClosesTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var next http.RoundTripper = scripted(status(404))
		tr := open(t, nil, &next)

		require.NoError(t, do(t, tr, target))

		var calls sync.WaitGroup
		next = baseFunc(func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return answer(200, ""), nil })
		for range 5 {
			calls.Go(func() { require.NoError(t, do(t, tr, target)) }) // a half-open circuit would let one through
		}
		calls.Wait()
	})
}

func TestHungProbeDoesNotDelayTheNextProbe(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]baseFunc{
		"success": status(200),
		"failure": fails(errBroken),
	} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var next http.RoundTripper = baseFunc(func(r *http.Request) (*http.Response, error) { <-release; return late(r) })
			tr := open(t, nil, &next)
			var hung sync.WaitGroup
			hung.Go(func() { _ = do(t, tr, target) })
			synctest.Wait()
			require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen, "before the time of the next probe")

			time.Sleep(400 * time.Millisecond)
			next = scripted(status(200))
			require.NoError(t, do(t, tr, target), "another probe")
			require.NoError(t, do(t, tr, target), "closed")

			close(release)
			hung.Wait()
			for range 3 {
				require.NoError(t, do(t, tr, target), "%s: the late result changes nothing", name)
			}
		})
	}
}

func TestHostThatHangsGetsOneProbePerInterval(t *testing.T) {
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

func TestHostThatAnswersSlowlyClosesTheCircuit(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]baseFunc{
		"slowly too":          func(*http.Request) (*http.Response, error) { time.Sleep(3 * time.Second); return answer(200, ""), nil },
		"with failures":       fails(errBroken),
		"with a 429":          status(429),
		"with a late failure": func(*http.Request) (*http.Response, error) { time.Sleep(5 * time.Second); return nil, errBroken },
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

func TestRefusalHasTheTimeOfTheNextProbe(t *testing.T) {
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

func TestProbeCanceledDuringPaceIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var next http.RoundTripper = scripted(status(200))
		tr := open(t, nil, &next)
		tr.Pace = rate.NewLimiter(rate.Every(time.Minute), 1)
		tr.Pace.Allow()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))
		require.ErrorIs(t, err, context.DeadlineExceeded)

		require.NoError(t, do(t, tr, target))
	})
}
