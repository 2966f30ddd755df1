package ratelimit_test

import (
	"bufio"
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

// slow takes a second, or ends otherwise, as X-How says.
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

// atOnce sends requests at one instant and returns how many were answered with each status; 0 is
// for those without an answer.
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

func TestMaxConcurrentBoundsEachKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		limit := ratelimit.MaxConcurrent(3, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Observe: seen.observe})
		s := memhttp.New(limit(slow))
		defer s.Close()
		for range 3 { // the slots come back
			var one, other map[int]int
			var wg sync.WaitGroup
			wg.Go(func() { one = atOnce(t, s, 10, "X-Api-Key", "sk_1") })
			wg.Go(func() { other = atOnce(t, s, 2, "X-Api-Key", "sk_2") })
			wg.Wait()
			require.Equal(t, map[int]int{200: 3, 429: 7}, one)
			require.Equal(t, map[int]int{200: 2}, other)
		}
		require.Equal(t, map[int]int{401: 1}, atOnce(t, s, 1))
		require.Contains(t, seen.drain(), "concurrent denied")
	})
}

// One that ends frees one slot, while others of its key go on.
func TestMaxConcurrentCountsThoseThatGoOn(t *testing.T) {
	t.Parallel()
	var inside []http.HandlerFunc
	h := ratelimit.MaxConcurrent(3, ratelimit.ByAPIKey, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := inside[0]
		inside = inside[1:]
		next(w, r)
	}))
	code := func() int { return get(h, "sk_1").Code }
	inside = []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) { // the first
			require.Equal(t, 200, code(), "the second")
			require.Equal(t, 200, code(), "the third, after the second has ended")
			ok(w, r)
		},
		ok,
		func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, 200, code(), "one beside the first and the third")
			ok(w, r)
		},
		func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, 429, code(), "one beside three")
			ok(w, r)
		},
	}
	require.Equal(t, 200, code())
	require.Empty(t, inside)
}

func TestMaxConcurrentAnswers(t *testing.T) {
	t.Parallel()
	limit := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{RetryAfter: 1500 * time.Millisecond})
	var inner http.Handler
	h := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) }))
	inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner = ok
		ok(w, r)
		refused := get(h, "sk_1")
		require.Equal(t, 429, refused.Code)
		require.Equal(t, "2", refused.Header().Get("Retry-After"))
		require.Contains(t, refused.Body.String(), `"code":"rate_limit_exceeded"`)
		require.Equal(t, 200, get(h, "sk_2").Code)
	})
	require.Equal(t, 200, get(h, "sk_1").Code)
}

// endings are the ways in which a handler ends that must free what it held.
var endings = []string{"panic", "abort", "hijack", "return"}

func TestNoSlotLeaks(t *testing.T) {
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

func TestCallerThatHangsUpFreesItsSlotWhenTheHandlerEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, nil)
		s := memhttp.New(limit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		})))
		defer s.Close()
		for range 3 {
			conn, err := s.Dial(t.Context())
			require.NoError(t, err)
			w := bufio.NewWriter(conn)
			_, err = w.WriteString("GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: sk_1\r\n\r\n")
			require.NoError(t, err)
			require.NoError(t, w.Flush())
			time.Sleep(time.Second)
			require.Equal(t, map[int]int{429: 1}, atOnce(t, s, 1, "X-Api-Key", "sk_1"))
			require.NoError(t, conn.Close())
			time.Sleep(time.Second)
		}
		require.Equal(t, map[int]int{200: 1}, atOnce(t, s, 1, "X-Api-Key", "sk_1"))
	})
}

// TestGoexitLeaksNoSlot ends the goroutine of the request, as t.FailNow does in a handler of a
// test, in the handler and in Observe.
func TestGoexitLeaksNoSlot(t *testing.T) {
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

func TestPanicOfObserveLeaksNoSlot(t *testing.T) {
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

func TestMaxConcurrentOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		limit := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
			Rule:        "slots",
			Skip:        func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" },
			KeyOptional: true,
			Observe:     seen.observe,
		})
		s := memhttp.New(limit(slow))
		defer s.Close()
		require.Equal(t, map[int]int{200: 5}, atOnce(t, s, 5, "X-Api-Key", "sk_1", "X-Skip", "1"))
		require.Equal(t, map[int]int{200: 5}, atOnce(t, s, 5))
		require.Empty(t, seen.drain())
		require.Equal(t, map[int]int{200: 1, 429: 1}, atOnce(t, s, 2, "X-Api-Key", "sk_1"))
		require.ElementsMatch(t, []string{"slots allowed", "slots denied"}, seen.drain())
	})
}

func TestShadowModeOfConcurrencyLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		both := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Shadow: true, Observe: seen.observe})(
			ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Shadow: true, Observe: seen.observe})(slow))
		s := memhttp.New(both)
		defer s.Close()
		for range 2 { // what went through was counted, and has left
			require.Equal(t, map[int]int{200: 2}, atOnce(t, s, 2, "X-Api-Key", "sk_1"))
			require.ElementsMatch(t, []string{
				"concurrent allowed", "concurrent denied in shadow", "shed allowed", "shed denied in shadow",
			}, seen.drain())
		}
		require.Equal(t, map[int]int{200: 1}, atOnce(t, s, 1))
		require.Equal(t, []string{"concurrent no_key in shadow", "shed allowed"}, seen.drain())
	})
}

func TestConcurrencyLimitsPanicOnWhatCannotWork(t *testing.T) {
	t.Parallel()
	key := ratelimit.ByAPIKey
	for name, f := range map[string]func(){
		"MaxConcurrent of 0":        func() { ratelimit.MaxConcurrent(0, key, nil) },
		"without a key":             func() { ratelimit.MaxConcurrent(1, nil, nil) },
		"a negative RetryAfter":     func() { ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{RetryAfter: -1}) },
		"a name with a line break":  func() { ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{Rule: "\n"}) },
		"MaxConcurrent around nil":  func() { ratelimit.MaxConcurrent(1, key, nil)(nil) },
		"Shed of 0":                 func() { ratelimit.Shed(0, nil, nil) },
		"a reserve of everything":   func() { ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Reserve: 1}) },
		"a hysteresis of more":      func() { ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Hysteresis: 1.5}) },
		"Shed around nil":           func() { ratelimit.Shed(1, nil, nil)(nil) },
		"Shed, negative RetryAfter": func() { ratelimit.Shed(1, nil, &ratelimit.ShedOptions{RetryAfter: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Panics(t, f)
		})
	}
}
