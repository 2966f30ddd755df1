package redislimit_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// The server's clock may be set back, or be another one after a failover. The bucket then goes on
// from the present time: it is not stuck until the old time comes again, and mints nothing.
func TestServerClockIsSetBack(t *testing.T) {
	t.Parallel()
	c := newClock(t, connect(t, redistest.Start(t).Addr))
	charge := ratelimit.Charge{Rule: "default", Key: "k", Limit: ratelimit.Per(10, 10*time.Second), Cost: 1}
	drain := func() (admitted int) {
		for c.try(t, charge) {
			admitted++
		}
		return admitted
	}
	require.Equal(t, 10, drain())
	c.advance(t, -24*time.Hour)
	require.Zero(t, drain())
	c.advance(t, 3*time.Second)
	require.Equal(t, 3, drain())
	c.advance(t, time.Hour)
	require.Equal(t, 10, drain())
}

// try makes a charge with a limiter that remembers no denial.
func (c *clock) try(t *testing.T, charge ratelimit.Charge) bool {
	t.Helper()
	d := take(t, c.limiter(), charge)
	return d.Allowed
}

// The key of a bucket lives until the bucket is full by every limit that it has had, and not much
// longer.
func TestLifeOfAKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	ttl := func() time.Duration {
		ms, err := strconv.ParseInt(do(t, server, "PTTL", l.RedisKey("default", "k")), 10, 64)
		require.NoError(t, err)
		return time.Duration(ms) * time.Millisecond
	}
	between := func(low, high time.Duration) {
		t.Helper()
		require.Greater(t, ttl(), low-time.Minute)
		require.LessOrEqual(t, ttl(), high+time.Second)
	}
	charge := func(limit ratelimit.Limit, cost int) {
		t.Helper()
		take(t, l, ratelimit.Charge{Rule: "default", Key: "k", Limit: limit, Cost: cost})
	}
	hourly, daily := ratelimit.PerHour(60), ratelimit.Per(24, 24*time.Hour)
	charge(hourly, 1)
	between(time.Minute, time.Minute+time.Hour)
	charge(hourly, 59)
	between(time.Hour, 2*time.Hour)
	require.NoError(t, l.Reset(t.Context(), "default", "k"))
	charge(daily, 24)
	between(24*time.Hour, 48*time.Hour)
	charge(hourly, 60) // denied, and it would be full in an hour
	between(24*time.Hour, 48*time.Hour)
	require.NoError(t, l.Adjust(t.Context(), ratelimit.Charge{Rule: "default", Key: "k", Limit: hourly, Cost: 60 * 100}))
	between(100*time.Hour, 102*time.Hour)
}

// joined is a Runner that joins its calls to one, and makes none.
type joined struct {
	script     string
	keys, args []string
}

func (c *joined) Run(_ context.Context, script string, keys, args []string) (any, error) {
	c.script, c.keys, c.args = script, append(c.keys, keys...), append(c.args, args...)
	return nil, errReply
}

// In a shared call, a bucket can have several limits one after another.
func TestLifeOfAKeyWithSeveralLimitsInACall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	shared := new(joined)
	for _, limit := range []ratelimit.Limit{ratelimit.Per(24, 24*time.Hour), ratelimit.PerHour(60), ratelimit.PerSecond(100)} {
		l := redislimit.NewRunner(shared, nil)
		_, err := l.Take(t.Context(), ratelimit.Charge{Rule: "default", Key: "k", Limit: limit, Cost: 24})
		require.ErrorIs(t, err, errReply)
	}
	runner := redislimit.NewGoRedisRunner(connect(t, server.Addr))
	_, err := runner.Run(t.Context(), shared.script, shared.keys, shared.args)
	require.NoError(t, err)
	ms, err := strconv.ParseInt(do(t, server, "PTTL", shared.keys[0]), 10, 64)
	require.NoError(t, err)
	require.Greater(t, ms, (24*time.Hour - time.Minute).Milliseconds(), "until it is full by the first limit too")
}

// Each decision rounds the units of a bucket. The errors must not deny a unit that is due.
func TestRoundingErrors(t *testing.T) {
	t.Parallel()
	c := newClock(t, connect(t, redistest.Start(t).Addr))
	for _, row := range []struct{ step, window time.Duration }{
		{100 * time.Microsecond, time.Millisecond},
		{365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour},
	} {
		charge := ratelimit.Charge{Rule: "default", Key: row.window.String(), Limit: ratelimit.Per(1, row.window), Cost: 1}
		l := c.limiter()
		require.True(t, take(t, l, charge).Allowed)
		for range 10 {
			c.advance(t, row.step)
			for _, charge.Cost = range []int{1, -1} {
				require.NoError(t, l.Adjust(t.Context(), charge))
			}
		}
		charge.Cost = 1
		require.True(t, take(t, l, charge).Allowed, "%v", row.window)
	}
	half := ratelimit.Charge{Rule: "default", Key: "half", Limit: ratelimit.Limit{Quota: 2, Window: 2*time.Millisecond + 1, Burst: 1}, Cost: 1}
	require.True(t, take(t, c.limiter(), half).Allowed)
	c.advance(t, time.Millisecond)
	require.True(t, take(t, c.limiter(), half).Allowed, "half a nanosecond early")
}

// The largest numbers that a Limit and an Adjust can have.
func TestLargestNumbers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	memory := ratelimit.NewMemory(nil)
	const tenYears = 10 * 365 * 24 * time.Hour
	for i, limit := range []ratelimit.Limit{
		ratelimit.Per(1, tenYears),
		ratelimit.Per(1e9, time.Second),
		ratelimit.Per(1e9, tenYears),
		{Quota: 1, Window: time.Nanosecond, Burst: 1e9},
		{Quota: 1e9, Window: time.Second, Burst: 1},
		ratelimit.PerHour(1),
	} {
		c := ratelimit.Charge{Rule: "default", Key: strconv.Itoa(i), Limit: limit, Cost: 1}
		require.True(t, take(t, l, c).Allowed)
		require.True(t, take(t, memory, c).Allowed)
		c.Cost = 1e9
		for range 3 {
			require.NoError(t, l.Adjust(t.Context(), c), "%+v", limit)
			require.NoError(t, memory.Adjust(t.Context(), c), "%+v", limit)
		}
		c.Cost = 1
		// A Memory reports the same waits for a debt of three billion units.
		got, want := take(t, l, c), take(t, memory, c)
		within := float64(max(time.Minute, want.ResetAfter/1e9)) // real clocks, and rounding
		require.InDelta(t, want.RetryAfter, got.RetryAfter, within, "%+v", limit)
		require.InDelta(t, want.RefillAfter, got.RefillAfter, within, "%+v", limit)
		require.InDelta(t, want.ResetAfter, got.ResetAfter, within, "%+v", limit)
		c.Cost = -1e9
		for range 4 {
			require.NoError(t, l.Adjust(t.Context(), c), "%+v", limit)
		}
		c.Cost = 1
		require.True(t, take(t, l, c).Allowed, "%+v", limit)
	}
}

// A unit may be away by a fraction of a nanosecond, which the reply does not contain.
func TestDenialByAFractionOfANanosecond(t *testing.T) {
	t.Parallel()
	for _, full := range []int64{0, 1} {
		r := runnerFunc(func() (any, error) { return []any{int64(0), full}, nil })
		c := perHour("k", 10)
		c.Cost = 10
		d := take(t, redislimit.NewRunner(r, nil), c)
		require.Equal(t, ratelimit.Decision{Limit: ratelimit.PerHour(10), RetryAfter: time.Second, Remaining: 9, RefillAfter: 1, ResetAfter: 1}, d)
	}
}
