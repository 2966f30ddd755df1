package ratelimit_test

import (
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// While the limiter fails, all processes together allow about the limit.
func TestLocalShareOfALimit(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		processes int
		limit     ratelimit.Limit
		cost      int
		burst     int           // requests that one process admits first
		every     time.Duration // until it admits one more
	}{
		"one process":             {0, ratelimit.PerMinute(60), 1, 60, time.Second},
		"four processes":          {4, ratelimit.PerMinute(60), 1, 15, 4 * time.Second},
		"not a divisor":           {7, ratelimit.PerMinute(60), 1, 8, 3 * time.Second},
		"a cost":                  {4, ratelimit.PerMinute(60), 5, 3, 20 * time.Second},
		"more than the burst":     {100, ratelimit.PerMinute(60), 1, 1, 100 * time.Second},
		"a cost that is too high": {4, ratelimit.PerMinute(60), 61, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rule := byKey("a", row.limit)
				rule.Cost = func(*http.Request) int { return row.cost }
				h := ratelimit.New(&broken{Memory: ratelimit.NewMemory(nil), err: errors.New("down")},
					&ratelimit.Options{Processes: row.processes, Logger: slog.New(slog.DiscardHandler)}, rule)(ok)
				for n := range row.burst {
					w := get(h, "k")
					require.Equal(t, http.StatusOK, w.Code, "request %d", n)
				}
				w := get(h, "k")
				require.Equal(t, http.StatusTooManyRequests, w.Code)
				if row.every == 0 {
					require.Empty(t, w.Header().Get("Retry-After"))
					return
				}
				time.Sleep(row.every - time.Second/2)
				require.Equal(t, http.StatusTooManyRequests, get(h, "k").Code)
				time.Sleep(time.Second / 2)
				require.Equal(t, http.StatusOK, get(h, "k").Code)
			})
		})
	}
}

func TestLocalShareInTheFields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(&broken{Memory: ratelimit.NewMemory(nil), err: errors.New("down")},
			&ratelimit.Options{Processes: 4, Logger: slog.New(slog.DiscardHandler)}, byKey("a", ratelimit.PerMinute(60)))(ok)
		require.Equal(t, `"a";r=14;t=4`, get(h, "k").Header().Get("RateLimit"))
		time.Sleep(time.Second)
		require.Equal(t, `"a";r=13;t=3`, get(h, "k").Header().Get("RateLimit"))
	})
}

func TestNumberOfProcessesIsChecked(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 1e6 + 1} {
		require.PanicsWithValue(t, "ratelimit: Options.Processes must be 0 to 1e6", func() {
			ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Processes: n}, byKey("a", ratelimit.PerMinute(60)))
		})
	}
}

// What is given back is in proportion, even if the estimate was more than the burst.
func TestLocalShareIsSettled(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		estimate, cost int
		wait           time.Duration // until a request is admitted
	}{
		"within the burst":    {15, 5, 20 * time.Second}, // 20 units are gone, and 60 are needed
		"more than the burst": {20, 15, time.Minute},     // 80 units are taken, and 20 given back
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rule := byKey("a", ratelimit.PerMinute(60))
				rule.Cost = func(*http.Request) int { return row.estimate }
				rule.Settled = true
				h := ratelimit.New(&broken{Memory: ratelimit.NewMemory(nil), err: errors.New("down")},
					&ratelimit.Options{Processes: 4, Logger: slog.New(slog.DiscardHandler)}, rule)(
					http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.WriteHeader(http.StatusOK)
						if err := ratelimit.Settle(r.Context(), "a", row.cost); err != nil {
							t.Error(err)
						}
					}))
				require.Equal(t, http.StatusOK, get(h, "k").Code)
				time.Sleep(row.wait - time.Second/2)
				require.Equal(t, http.StatusTooManyRequests, get(h, "k").Code)
				time.Sleep(time.Second / 2)
				require.Equal(t, http.StatusOK, get(h, "k").Code)
			})
		})
	}
}
