package ratelimit_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
)

func TestLocalSlots(t *testing.T) {
	t.Parallel()
	ratelimittest.RunSlots(t, func(*testing.T) (ratelimit.Slots, time.Duration, func(time.Duration)) {
		return &ratelimit.LocalSlots{}, 0, nil
	})
}

// counter is Slots that fail while err is set. It records the entries and the leaves.
type counter struct {
	ratelimit.LocalSlots

	mu      sync.Mutex
	err     error
	entries []ratelimit.Entry
	leaves  int
}

func (c *counter) Enter(ctx context.Context, e ratelimit.Entry) (func(), bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = append(c.entries, e)
	if c.err != nil {
		return nil, false, c.err
	}
	leave, free, err := c.LocalSlots.Enter(ctx, e)
	if leave == nil {
		return nil, free, err
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leaves++
		leave()
	}, free, err
}

func TestSharedSlotsCountForSeveralMiddlewares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared ratelimit.LocalSlots
		server := func(rule string) *memhttp.Server {
			s := memhttp.New(ratelimit.MaxConcurrent(3, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Rule: rule, Slots: &shared})(slow))
			t.Cleanup(s.Close)
			return s
		}
		a, b, other := server("slots"), server("slots"), server("other")
		for range 3 { // the slots are free again
			var wg sync.WaitGroup
			var first, second, third map[int]int
			wg.Go(func() { first = atOnce(t, a, 4, "X-Api-Key", "sk_1") })
			wg.Go(func() { second = atOnce(t, b, 4, "X-Api-Key", "sk_1") })
			wg.Go(func() { third = atOnce(t, other, 3, "X-Api-Key", "sk_1") })
			wg.Wait()
			require.Equal(t, 3, first[200]+second[200])
			require.Equal(t, 5, first[429]+second[429])
			require.Equal(t, map[int]int{200: 3}, third)
		}
	})
}

func TestSharedSlotIsLeftOnceHoweverTheHandlerEnds(t *testing.T) {
	t.Parallel()
	for _, how := range endings {
		for _, shadow := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				shared := &counter{}
				s := memhttp.New(ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Slots: shared, Shadow: shadow})(slow))
				defer s.Close()
				for range 3 {
					atOnce(t, s, 1, "X-Api-Key", "sk_1", "X-How", how)
				}
				synctest.Wait()
				require.Equal(t, 3, shared.leaves, how)
				entry := ratelimit.Entry{Rule: "concurrent", Key: "api_key:sk_1", Max: 1, Shadow: shadow}
				require.Equal(t, []ratelimit.Entry{entry, entry, entry}, shared.entries)
			})
		}
	}
}

func TestSharedSlotsInShadowModeCountEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		shared := &counter{}
		s := memhttp.New(ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
			Slots: shared, Shadow: true, Observe: seen.observe,
		})(slow))
		defer s.Close()
		require.Equal(t, map[int]int{200: 3}, atOnce(t, s, 3, "X-Api-Key", "sk_1"))
		require.ElementsMatch(t, []string{"concurrent allowed", "concurrent denied in shadow", "concurrent denied in shadow"}, seen.drain())
		require.Equal(t, 3, shared.leaves)
	})
}

// Each handler of this test sends a second request while it runs.
func TestOnFailureOfSlots(t *testing.T) {
	t.Parallel()
	errDown := errors.New("dial redis://u:secret@host: connection refused")
	for name, row := range map[string]struct {
		on     ratelimit.Fail
		shadow bool
		codes  []int // of the outer request, and of the inner one
		events []string
	}{
		"local":          {ratelimit.FailLocal, false, []int{200, 429}, []string{"concurrent allowed", "concurrent denied"}},
		"open":           {ratelimit.FailOpen, false, []int{200, 200}, []string{"concurrent bypassed", "concurrent bypassed"}},
		"closed":         {ratelimit.FailClosed, false, []int{503}, []string{"concurrent failed"}},
		"local, shadow":  {ratelimit.FailLocal, true, []int{200, 200}, []string{"concurrent allowed", "concurrent denied in shadow"}},
		"open, shadow":   {ratelimit.FailOpen, true, []int{200, 200}, []string{"concurrent bypassed", "concurrent bypassed"}},
		"closed, shadow": {ratelimit.FailClosed, true, []int{200, 200}, []string{"concurrent failed in shadow", "concurrent failed in shadow"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen events
			var log lines
			shared := &counter{err: errDown}
			var h http.Handler
			inner := 0
			nested := false
			h = ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
				Slots: shared, OnFailure: row.on, Shadow: row.shadow, Observe: seen.observe, Logger: log.logger(),
			})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if nested = !nested; nested {
					inner = get(h, "sk_secret").Code
					nested = false
				}
				ok(w, r)
			}))
			for range 100 {
				w := get(h, "sk_secret")
				require.Equal(t, row.codes[0], w.Code)
				require.Equal(t, w.Code == 503, w.Header().Get("Retry-After") == "1")
				require.NotContains(t, w.Body.String(), "refused")
				if len(row.codes) > 1 {
					require.Equal(t, row.codes[1], inner)
				}
				for _, event := range seen.list {
					require.ErrorIs(t, event.Err, errDown)
				}
				require.ElementsMatch(t, row.events, seen.drain())
			}
			begin := log.drain()
			require.Len(t, begin, 1, "%.300q", begin)
			require.Contains(t, begin[0], "level=ERROR")
			require.Contains(t, begin[0], "the counter of MaxConcurrent fails")
			require.Contains(t, begin[0], "connection refused")
			require.NotContains(t, begin[0], "secret")

			shared.err = nil
			for range 2 {
				require.Equal(t, 200, get(h, "sk_secret").Code)
			}
			end := log.drain()
			require.Len(t, end, 1, "%.300q", end)
			require.Contains(t, end[0], "level=INFO")
			require.Contains(t, end[0], "the counter of MaxConcurrent works again")
			require.Contains(t, end[0], map[int]string{1: "requests=100", 2: "requests=200"}[len(row.codes)])
			for _, event := range seen.list {
				require.NoError(t, event.Err)
			}
		})
	}
}

func TestLocalShareOfSlots(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ n, processes, want int }{{10, 0, 10}, {10, 1, 10}, {10, 3, 4}, {10, 10, 1}, {10, 1000, 1}} {
		synctest.Test(t, func(t *testing.T) {
			shared := &counter{err: errors.New("down")}
			limit := ratelimit.MaxConcurrent(row.n, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
				Slots: shared, Processes: row.processes, Logger: slog.New(slog.DiscardHandler),
			})
			s := memhttp.New(limit(slow))
			defer s.Close()
			require.Equal(t, row.want, atOnce(t, s, 20, "X-Api-Key", "sk_1")[200], "%+v", row)
			shared.err = nil
			require.Equal(t, row.n, atOnce(t, s, 20, "X-Api-Key", "sk_1")[200], "%+v", row)
		})
	}
}

// A request that was canceled makes the back end fail, which says nothing about the back
// end.
func TestCanceledRequestsAreNotAFailureOfSlots(t *testing.T) {
	t.Parallel()
	for _, on := range []ratelimit.Fail{ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed} {
		var log lines
		ran := false
		h := logged(&log, ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
			Slots: &counter{err: context.Canceled}, OnFailure: on, Logger: log.logger(),
		})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, 503, serve(h, request("X-Api-Key", "sk_1").WithContext(gone)).Code)
		late, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		require.Equal(t, 504, serve(h, request("X-Api-Key", "sk_1").WithContext(late)).Code)
		require.False(t, ran)
		require.Empty(t, log.drain())
	}
}

func TestRequestsWithoutAKeyDoNotReachTheSlots(t *testing.T) {
	t.Parallel()
	shared := &counter{}
	skip := func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" }
	h := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Slots: shared, Skip: skip})(ok)
	require.Equal(t, 401, get(h, "").Code)
	require.Equal(t, 200, serve(h, request("X-Api-Key", "sk_1", "X-Skip", "1")).Code)
	require.Empty(t, shared.entries)
	require.Equal(t, 200, get(h, strings.Repeat("x", 1000)).Code)
	require.Less(t, len(shared.entries[0].Key), 100)
}
