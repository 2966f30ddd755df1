package redislimit_test

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// counted counts the calls of a Runner.
type counted struct {
	redislimit.Runner
	calls int
}

func (c *counted) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	c.calls++
	return c.Runner.Run(ctx, script, keys, args)
}

// deniedLimiter returns a limiter on a clock, whose bucket of ten units holds four, and whose last
// decision was the denial of a cost of five.
func deniedLimiter(t *testing.T, server *redistest.Server) (*redislimit.Limiter, *clock, *counted) {
	t.Helper()
	c := newClock(t, connect(t, server.Addr))
	r := &counted{Runner: c}
	l := redislimit.NewRunner(r, &redislimit.Options{Prefix: c.key + ":", Timeout: patient})
	l.SetClock(c.time)
	require.True(t, take(t, l, cost(6)).Allowed)
	require.False(t, take(t, l, cost(5)).Allowed)
	r.calls = 0
	return l, c, r
}

func cost(n int) ratelimit.Charge {
	return ratelimit.Charge{Rule: "default", Key: "k", Limit: ratelimit.Limit{Quota: 1, Window: 800 * time.Millisecond, Burst: 10}, Cost: n}
}

func TestDenialIsExact(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, row := range []struct {
		name    string
		change  func(t *testing.T, l *redislimit.Limiter, c *clock)
		charge  ratelimit.Charge
		allowed bool
		calls   int // of the charge
	}{
		{name: "the same cost", charge: cost(5)},
		{name: "a greater cost", charge: cost(7)},
		{name: "a smaller cost", charge: cost(4), allowed: true, calls: 1},
		{name: "a peek", charge: cost(0), allowed: true, calls: 1},
		{name: "another key", charge: ratelimit.Charge{Rule: "default", Key: "l", Limit: cost(0).Limit, Cost: 5}, allowed: true, calls: 1},
		{name: "another rule", charge: ratelimit.Charge{Rule: "other", Key: "k", Limit: cost(0).Limit, Cost: 5}, allowed: true, calls: 1},
		{name: "another limit", charge: ratelimit.Charge{Rule: "default", Key: "k", Limit: ratelimit.Per(10, time.Hour), Cost: 5}, calls: 1},
		{name: "the unit comes back", charge: cost(5), allowed: true, calls: 1, change: func(t *testing.T, _ *redislimit.Limiter, c *clock) {
			c.advance(t, 800*time.Millisecond)
		}},
		{name: "a moment before", charge: cost(5), change: func(t *testing.T, _ *redislimit.Limiter, c *clock) {
			c.advance(t, 800*time.Millisecond-time.Microsecond)
		}},
		{name: "Reset", charge: cost(5), allowed: true, calls: 1, change: func(t *testing.T, l *redislimit.Limiter, _ *clock) {
			require.NoError(t, l.Reset(t.Context(), "default", "k"))
		}},
		{name: "Reset of another rule", charge: cost(5), change: func(t *testing.T, l *redislimit.Limiter, _ *clock) {
			require.NoError(t, l.Reset(t.Context(), "other", "k"))
		}},
		{name: "Adjust", charge: cost(5), allowed: true, calls: 1, change: func(t *testing.T, l *redislimit.Limiter, _ *clock) {
			c := cost(-1)
			require.NoError(t, l.Adjust(t.Context(), c))
		}},
		{name: "a smaller charge", charge: cost(5), calls: 1, change: func(t *testing.T, l *redislimit.Limiter, _ *clock) {
			require.True(t, take(t, l, cost(1)).Allowed)
		}},
		{name: "a charge with another limit", charge: cost(5), calls: 1, change: func(t *testing.T, l *redislimit.Limiter, _ *clock) {
			require.False(t, take(t, l, ratelimit.Charge{Rule: "default", Key: "k", Limit: ratelimit.Per(10, time.Hour), Cost: 5}).Allowed)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l, c, r := deniedLimiter(t, server)
			if row.change != nil {
				row.change(t, l, c)
				r.calls = 0
			}
			d := take(t, l, row.charge)
			require.Equal(t, row.allowed, d.Allowed, "%+v", d)
			require.Equal(t, row.calls, r.calls, "calls")
		})
	}
}

// The numbers of a denial that is remembered are those that the server would give.
func TestRememberedDenialAgreesWithTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l, c, r := deniedLimiter(t, server)
	for range 9 {
		c.advance(t, 80*time.Millisecond)
		for _, n := range []int{5, 8, 10, 11} {
			want, got := take(t, c.limiter(), cost(n)), take(t, l, cost(n))
			require.InDelta(t, want.RefillAfter, got.RefillAfter, 1, "cost %d", n) // nanosecond
			require.InDelta(t, want.ResetAfter, got.ResetAfter, 1, "cost %d", n)
			got.RefillAfter, got.ResetAfter = want.RefillAfter, want.ResetAfter
			require.Equal(t, want, got, "cost %d", n)
		}
	}
	require.Zero(t, r.calls)
}

func TestCostOverTheBurstIsRemembered(t *testing.T) {
	t.Parallel()
	l, c, r := deniedLimiter(t, redistest.Start(t))
	c.advance(t, time.Second) // the denial of a smaller cost is over
	for range 3 {
		d := take(t, l, cost(11))
		require.False(t, d.Allowed)
		require.Zero(t, d.RetryAfter)
	}
	require.Equal(t, 1, r.calls)
}

func TestDeniedGroupIsRemembered(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l, c, r := deniedLimiter(t, server)
	other := ratelimit.Charge{Rule: "other", Key: "x", Limit: ratelimit.Per(4, time.Second), Cost: 3}
	group := []ratelimit.Charge{other, cost(5)}
	into, again := make([]ratelimit.Decision, 2), make([]ratelimit.Decision, 2)
	require.NoError(t, l.TakeAll(t.Context(), group, into))
	require.Equal(t, 1, r.calls)
	require.NoError(t, l.TakeAll(t.Context(), group, again))
	require.Equal(t, 1, r.calls)
	require.Equal(t, into, again)
	require.True(t, again[0].Allowed)
	require.False(t, again[1].Allowed)

	require.True(t, take(t, l, other).Allowed, "nothing was taken")
	require.NoError(t, l.TakeAll(t.Context(), group, again))
	require.Equal(t, 3, r.calls, "the other bucket has changed")
	require.False(t, again[0].Allowed)
	c.advance(t, 800*time.Millisecond)
	require.NoError(t, l.TakeAll(t.Context(), group, again))
	require.True(t, again[0].Allowed && again[1].Allowed)
}

// A denial that arrives after a Reset is not remembered.
func TestDenialDuringAReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var denied atomic.Bool
		denied.Store(true)
		r := runnerFunc(func() (any, error) {
			was := denied.Load()
			time.Sleep(10 * time.Millisecond)
			if was {
				return []any{int64(0), int64(10 * time.Hour)}, nil
			}
			return []any{int64(1), int64(9 * time.Hour)}, nil
		})
		l := redislimit.NewRunner(r, nil)
		done := make(chan ratelimit.Decision)
		go func() {
			d, _ := l.Take(t.Context(), perHour("k", 10))
			done <- d
		}()
		time.Sleep(time.Millisecond)
		denied.Store(false)
		go func() { _ = l.Reset(t.Context(), "default", "k") }()
		require.False(t, (<-done).Allowed)
		time.Sleep(time.Second / 10)
		require.True(t, take(t, l, perHour("k", 10)).Allowed)
	})
}

// The server decides somewhere between the begin of a call and its end.
func TestDenialCountsFromTheBeginOfTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := redislimit.NewRunner(runnerFunc(func() (any, error) {
			calls++
			time.Sleep(10 * time.Millisecond)
			return []any{int64(0), int64(100 * time.Millisecond)}, nil
		}), nil)
		c := ratelimit.Charge{Rule: "default", Key: "k", Limit: ratelimit.Per(1, 100*time.Millisecond), Cost: 1}
		began := time.Now()
		take(t, l, c)
		time.Sleep(time.Until(began.Add(100*time.Millisecond - 1)))
		take(t, l, c)
		require.Equal(t, 1, calls)
		time.Sleep(time.Nanosecond)
		take(t, l, c)
		require.Equal(t, 2, calls)
	})
}

// Many keys that are denied take a bounded amount of memory, however long they are.
func TestManyDenials(t *testing.T) { //nolint:paralleltest // it measures the heap
	l := redislimit.NewRunner(runnerFunc(func() (any, error) { return []any{int64(0), int64(time.Hour)}, nil }), nil)
	before := heap()
	for i := range 20_000 {
		for _, n := range []int{0, 1500, 10_000} {
			c := perHour(strconv.Itoa(i)+strings.Repeat("x", n), 1)
			require.False(t, take(t, l, c).Allowed)
		}
	}
	require.Less(t, heap()-before, 20e6)
	runtime.KeepAlive(l)
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
