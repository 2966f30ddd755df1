package ratelimit_test

import (
	"bufio"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
)

func TestMaxConcurrentBoundsEachKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		limit := ratelimit.MaxConcurrent(3, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Observe: seen.observe})
		s := memhttp.New(limit(slow))
		defer s.Close()
		for range 3 { // the slots are free again
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

func TestMaxConcurrentFreesOneSlotAtATime(t *testing.T) {
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
			require.Equal(t, 200, code(), "a request beside two others")
			ok(w, r)
		},
		func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, 429, code(), "a request beside three others")
			ok(w, r)
		},
	}
	require.Equal(t, 200, code())
	require.Empty(t, inside)
}

func TestMaxConcurrentAnswersWith429(t *testing.T) {
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

func TestClientThatHangsUpFreesItsSlotWhenTheHandlerEnds(t *testing.T) {
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
