package ratelimit_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
)

// slow takes a second, or ends as X-How says.
var slow = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("X-How") {
	case "panic":
		panic("boom")
	case "abort":
		panic(http.ErrAbortHandler)
	case "hijack":
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.Close()
	default:
		time.Sleep(time.Second)
	}
})

// atOnce sends n requests at the same time, and returns how many were answered with each
// status: 0 for no answer.
func atOnce(t *testing.T, s *memhttp.Server, n int, headers ...string) map[int]int {
	t.Helper()
	var mu sync.Mutex
	codes := map[int]int{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for i := 0; i < len(headers); i += 2 {
				r.Header.Add(headers[i], headers[i+1])
			}
			code := 0
			if resp, err := s.Client().Do(r); err == nil {
				code = resp.StatusCode
				_ = resp.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	wg.Wait()
	return codes
}

// endings are the ways in which a handler may end.
var endings = []string{"panic", "abort", "hijack", "return"}

func TestSlotsAreFreedHoweverTheHandlerEnds(t *testing.T) {
	t.Parallel()
	for _, how := range endings {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for name, limit := range map[string]func(http.Handler) http.Handler{
				"MaxConcurrent": ratelimit.MaxConcurrent(2, ratelimit.ByAPIKey, nil),
				"Shed":          ratelimit.Shed(2, func(*http.Request) ratelimit.Class { return ratelimit.ClassCritical }, nil),
			} {
				synctest.Test(t, func(t *testing.T) {
					s := memhttp.New(limit(slow))
					defer s.Close()
					for range 5 {
						atOnce(t, s, 1, "X-Api-Key", "sk_1", "X-How", how)
					}
					require.Equal(t, 2, atOnce(t, s, 10, "X-Api-Key", "sk_1")[200], name)
				})
			}
		})
	}
}

// t.FailNow in the handler of a test, for example, calls runtime.Goexit.
func TestSlotsAreFreedByGoexit(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"handler", "Observe"} {
		var exit atomic.Bool
		exitIn := func(here string) {
			if here == where && exit.Load() {
				runtime.Goexit()
			}
		}
		observe := func(context.Context, ratelimit.Event) { exitIn("Observe") }
		for name, limit := range map[string]func(http.Handler) http.Handler{
			"MaxConcurrent": ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Observe: observe}),
			"Shed":          ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Observe: observe}),
		} {
			h := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				exitIn("handler")
				ok(w, r)
			}))
			exit.Store(true)
			for range 3 {
				var wg sync.WaitGroup
				wg.Go(func() { get(h, "sk_1") })
				wg.Wait()
			}
			exit.Store(false)
			require.Equal(t, 200, get(h, "sk_1").Code, "%s: %s", name, where)
		}
	}
}

func TestSlotsAreFreedIfObservePanics(t *testing.T) {
	t.Parallel()
	var boom atomic.Bool
	observe := func(context.Context, ratelimit.Event) {
		if boom.Load() {
			panic("boom")
		}
	}
	for name, limit := range map[string]func(http.Handler) http.Handler{
		"MaxConcurrent": ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Observe: observe}),
		"Shed":          ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Observe: observe}),
	} {
		h := limit(ok)
		boom.Store(true)
		for range 3 {
			require.PanicsWithValue(t, "boom", func() { get(h, "sk_1") }, name)
		}
		boom.Store(false)
		require.Equal(t, 200, get(h, "sk_1").Code, name)
	}
}

func TestShadowModeOfSlotsCountsEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		both := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Shadow: true, Observe: seen.observe})(
			ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Shadow: true, Observe: seen.observe})(slow))
		s := memhttp.New(both)
		defer s.Close()
		for range 2 { // the slots are free again
			require.Equal(t, map[int]int{200: 2}, atOnce(t, s, 2, "X-Api-Key", "sk_1"))
			require.ElementsMatch(t, []string{
				"concurrent allowed", "concurrent denied in shadow", "shed allowed", "shed denied in shadow",
			}, seen.drain())
		}
		require.Equal(t, map[int]int{200: 1}, atOnce(t, s, 1))
		require.Equal(t, []string{"concurrent no_key in shadow", "shed allowed"}, seen.drain())
	})
}

func TestEventsOfSlotsHaveTheDecision(t *testing.T) {
	t.Parallel()
	type middleware = func(http.Handler) http.Handler
	for name, with := range map[string]func(wait time.Duration, observe func(context.Context, ratelimit.Event), shadow bool) middleware{
		"concurrent": func(wait time.Duration, observe func(context.Context, ratelimit.Event), shadow bool) middleware {
			return ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{RetryAfter: wait, Observe: observe, Shadow: shadow})
		},
		"shed": func(wait time.Duration, observe func(context.Context, ratelimit.Event), shadow bool) middleware {
			return ratelimit.Shed(1, nil, &ratelimit.ShedOptions{RetryAfter: wait, Observe: observe, Shadow: shadow})
		},
	} {
		for wait, told := range map[time.Duration]time.Duration{0: time.Second, 1: time.Second, time.Second: time.Second, 1500 * time.Millisecond: 2 * time.Second} {
			for _, shadow := range []bool{false, true} {
				var seen events
				runs := 0
				var h http.Handler
				h = with(wait, seen.observe, shadow)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if runs++; runs == 1 {
						get(h, "sk_1")
					}
					ok(w, r)
				}))
				require.Equal(t, 200, get(h, "sk_1").Code)
				require.Equal(t, []ratelimit.Event{
					{Rule: name, Outcome: ratelimit.OutcomeAllowed, Decision: ratelimit.Decision{Allowed: true}},
					{Rule: name, Outcome: ratelimit.OutcomeDenied, Decision: ratelimit.Decision{RetryAfter: told}, Shadow: shadow},
				}, seen.list)
				require.Equal(t, map[bool]int{false: 1, true: 2}[shadow], runs)
			}
		}
	}
}

func TestSlotsPanicOnInvalidArguments(t *testing.T) {
	t.Parallel()
	key := ratelimit.ByAPIKey
	for name, f := range map[string]func(){
		"n is 0":                    func() { ratelimit.MaxConcurrent(0, key, nil) },
		"no key":                    func() { ratelimit.MaxConcurrent(1, nil, nil) },
		"a negative RetryAfter":     func() { ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{RetryAfter: -1}) },
		"a rule with a line break":  func() { ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{Rule: "\n"}) },
		"an unknown OnFailure":      func() { ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{OnFailure: 3}) },
		"Processes is negative":     func() { ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{Processes: -1}) },
		"MaxConcurrent of nil":      func() { ratelimit.MaxConcurrent(1, key, nil)(nil) },
		"capacity is 0":             func() { ratelimit.Shed(0, nil, nil) },
		"a reserve of 1":            func() { ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Reserve: 1}) },
		"a hysteresis of 1.5":       func() { ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Hysteresis: 1.5}) },
		"Shed of nil":               func() { ratelimit.Shed(1, nil, nil)(nil) },
		"Shed, negative RetryAfter": func() { ratelimit.Shed(1, nil, &ratelimit.ShedOptions{RetryAfter: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Panics(t, f)
		})
	}
}
