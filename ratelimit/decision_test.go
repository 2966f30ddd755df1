package ratelimit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// After 290 ms at 100 a second, a float64 has 28.999999999999996 units. AllowN admits 29.
func TestRemainingCountsRoundedUnits(t *testing.T) {
	t.Parallel()
	const unit = 10 * time.Millisecond
	for burst := 1; burst <= 100; burst++ {
		m := ratelimit.NewMemory(nil)
		c := charge("k", ratelimit.Limit{Quota: 100, Window: time.Second, Burst: burst})
		c.Cost = burst
		takeAt(t, m, epoch, c)
		c.Cost = 0
		for n := range burst + 1 {
			d := takeAt(t, m, epoch.Add(time.Duration(n)*unit), c)
			require.Equal(t, n, d.Remaining, "of %d", burst)
			refill, reset := unit, time.Duration(burst-n)*unit
			if n == burst {
				refill = 0
			}
			require.InDelta(t, refill, d.RefillAfter, 1, "%d of %d", n, burst)
			require.InDelta(t, reset, d.ResetAfter, 1, "%d of %d", n, burst)
		}
	}
}

// With a slow limit, a float64 of seconds is some nanoseconds off. At the boundary of a
// second, that must not move Retry-After.
func TestRetryAfterOfSlowLimitsIsExact(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 2000 {
		c := charge(strconv.Itoa(i), ratelimit.Per(1+rnd.IntN(3), time.Duration(1+rnd.IntN(300_000_000))*time.Second))
		c.Cost = c.Limit.Quota
		small := &ratelimit.MemoryOptions{MaxKeys: 1}
		early, inTime := ratelimit.NewMemory(small), ratelimit.NewMemory(small)
		now := epoch
		take := func(m *ratelimit.Memory) ratelimit.Decision {
			d := takeAt(t, m, now, c)
			return d
		}
		take(early)
		take(inTime)
		now = now.Add(time.Duration(rnd.Int64N(int64(c.Limit.Window/time.Second))) * time.Second)
		d := take(early)
		require.Equal(t, d, take(inTime))
		require.False(t, d.Allowed)
		now = now.Add(d.RetryAfter - time.Second)
		if d.RetryAfter > time.Second {
			require.False(t, take(early).Allowed, "a second before %v: %+v", d.RetryAfter, c)
		}
		now = now.Add(time.Second)
		require.True(t, take(inTime).Allowed, "after %v: %+v", d.RetryAfter, c)
	}
}

// Package rate takes a wait of less than a nanosecond for none, so a faster limit would
// have no end.
func TestNoMoreThanTheBurstIsAdmittedAtOneInstant(t *testing.T) {
	t.Parallel()
	for _, l := range []ratelimit.Limit{
		{Quota: 1e9, Window: time.Second, Burst: 10},
		{Quota: 1, Window: 1, Burst: 10},
		{Quota: 1e9, Window: math.MaxInt64, Burst: 10},
		{Quota: 2, Window: 1, Burst: 10},
		{Quota: 1e9, Window: 1, Burst: 10},
		{Quota: 1e9, Window: time.Second - 1, Burst: 10},
	} {
		m := ratelimit.NewMemory(nil)
		admitted := 0
		for range 1000 {
			d, err := m.TakeAt(epoch, charge("k", l))
			if fast := int64(l.Quota) > int64(l.Window); fast {
				require.Error(t, err, "%+v", l)
			} else {
				require.NoError(t, err, "%+v", l)
			}
			if d.Allowed {
				admitted++
			}
		}
		require.LessOrEqual(t, admitted, 10, "%+v", l)
	}
}

func TestInvalidDecisionsAreCorrected(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		says             answers
		remaining, reset string
	}{
		{answers{Allowed: true, Remaining: -3, RefillAfter: -time.Hour, ResetAfter: -time.Hour}, "0", "0"},
		{answers{Allowed: true, Remaining: math.MinInt, RefillAfter: math.MinInt64, ResetAfter: math.MinInt64}, "0", "0"},
		{answers{Allowed: true, Remaining: math.MaxInt}, "9", "0"},
	} {
		w := get(ratelimit.New(row.says, &ratelimit.Options{LegacyHeaders: true}, byKey("", ratelimit.PerMinute(9)))(ok), "sk_1")
		require.Equal(t, `"default";q=9;w=60`, w.Header().Get("RateLimit-Policy"))
		require.Equal(t, `"default";r=`+row.remaining+`;t=1`, w.Header().Get("RateLimit"))
		require.Equal(t, "9", w.Header().Get("X-RateLimit-Limit"), "from the rule")
		require.Equal(t, row.remaining, w.Header().Get("X-RateLimit-Remaining"))
		require.Equal(t, row.reset, w.Header().Get("X-RateLimit-Reset"))
	}
}

// A limiter that only denies has no wait. Clients must not take that for a denial for good.
func TestDenialWithoutAWaitHasARetryAfter(t *testing.T) {
	t.Parallel()
	for _, says := range []answers{{}, {RetryAfter: -time.Second}} {
		w := get(ratelimit.New(says, nil, byKey("", ratelimit.PerMinute(9)))(ok), "sk_1")
		require.Equal(t, 429, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Empty(t, w.Header().Get("X-Should-Retry"))

		h := ratelimit.New(says, &ratelimit.Options{Deny: func(_ http.ResponseWriter, _ *http.Request, _ string, d ratelimit.Decision) {
			require.Equal(t, time.Second, d.RetryAfter)
		}}, byKey("", ratelimit.PerMinute(9)))(ok)
		require.Equal(t, "1", get(h, "sk_1").Header().Get("Retry-After"))
	}
}

func TestIncompleteDenialsAreCompleted(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, row := range map[string]struct {
		says          answers
		cost          int
		retry, t, end string
	}{
		"only the refill":           {answers{RefillAfter: 5 * s}, 1, "5", "5", "5"},
		"a refill under a second":   {answers{RefillAfter: 1}, 1, "1", "1", "1"},
		"a refill of the next unit": {answers{RefillAfter: 5 * s, Remaining: 1}, 4, "25", "5", "5"},
		"a refill and an end":       {answers{RefillAfter: 5 * s, ResetAfter: 12 * s}, 4, "12", "5", "12"},
		"only the end of a window":  {answers{ResetAfter: 30 * s}, 1, "30", "30", "30"},
		"an end with a fraction":    {answers{ResetAfter: 29*s + 1}, 3, "30", "30", "30"},
		"only the wait":             {answers{RetryAfter: 7 * s}, 1, "7", "7", "7"},
		"a wait with a fraction":    {answers{RetryAfter: 6*s + 1}, 1, "7", "7", "7"},
		"nothing":                   {answers{}, 1, "1", "1", "0"},
		"nothing, for a cost of 3":  {answers{}, 3, "20", "1", "0"},
		"negative durations":        {answers{RetryAfter: -s, RefillAfter: -s, ResetAfter: -s}, 1, "1", "1", "0"},
		"no wait, and an end":       {answers{RetryAfter: -s, ResetAfter: 30 * s}, 1, "30", "30", "30"},
		"a refill before the end":   {answers{RefillAfter: 5 * s, ResetAfter: 12 * s}, 1, "5", "5", "12"},
		"an immediate end":          {answers{ResetAfter: 1}, 3, "1", "1", "1"},
		"forever":                   {answers{RefillAfter: math.MaxInt64}, 4, "9223372036", "9223372036", "9223372036"},
		"a cost over the burst":     {answers{RetryAfter: 7 * s, RefillAfter: s}, 7, "", "1", "0"},
		"over the burst":            {answers{Remaining: 100, RefillAfter: 2 * s}, 1, "2", "2", "2"},
	} {
		rule := byKey("", ratelimit.PerMinute(6))
		rule.Cost = func(*http.Request) int { return row.cost }
		w := get(ratelimit.New(row.says, &ratelimit.Options{LegacyHeaders: true}, rule)(ok), "sk_1")
		require.Equal(t, 429, w.Code, name)
		require.Equal(t, row.retry, w.Header().Get("Retry-After"), name)
		require.Contains(t, w.Header().Get("RateLimit"), ";t="+row.t, name)
		require.Equal(t, row.end, w.Header().Get("X-RateLimit-Reset"), name)
	}
}

func TestDecisionOfAnAllowedRequestIsObserved(t *testing.T) {
	t.Parallel()
	for _, says := range []answers{
		{Allowed: true, Remaining: 3},
		{Allowed: true, Remaining: 3, RefillAfter: 7 * time.Second, ResetAfter: 5 * time.Second},
	} {
		var seen []ratelimit.Event
		o := &ratelimit.Options{Observe: func(_ context.Context, e ratelimit.Event) { seen = append(seen, e) }}
		get(ratelimit.New(says, o, byKey("", ratelimit.PerMinute(9)))(ok), "sk_1")
		require.Equal(t, []ratelimit.Event{{Rule: "default", Outcome: ratelimit.OutcomeAllowed, Decision: ratelimit.Decision(says)}}, seen)
	}
}
