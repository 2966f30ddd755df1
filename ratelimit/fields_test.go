package ratelimit_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestPolicyInWholeSecondsIsTheSameRate(t *testing.T) {
	t.Parallel()
	for ms := 1; ms < 2500; ms += 3 {
		for _, quota := range []int{ms, 7 * ms, 1} {
			h := ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", ratelimit.Per(quota, time.Duration(ms)*time.Millisecond)))(ok)
			seconds := (ms + 999) / 1000
			want := fmt.Sprintf(`"default";q=%d;w=%d`, quota*seconds*1000/ms, seconds)
			require.Equal(t, want, get(h, "sk_1").Header().Get("RateLimit-Policy"), "%d in %d ms", quota, ms)
		}
	}
}

// The largest Duration is what package rate and others mean by "never".
func TestTheLargestDurationIsALongTime(t *testing.T) {
	t.Parallel()
	const never, seconds = time.Duration(math.MaxInt64), "9223372036"

	slow := ratelimit.Limit{Quota: 1e9, Window: never, Burst: 1}
	w := get(ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", slow))(ok), "sk_1")
	require.Contains(t, w.Header().Get("RateLimit-Policy"), ";w="+seconds)

	says := answers{Limit: slow, RetryAfter: never, RefillAfter: never, ResetAfter: never}
	w = get(ratelimit.New(says, &ratelimit.Options{LegacyHeaders: true}, byKey("", slow))(ok), "sk_1")
	require.Equal(t, `"default";r=0;t=`+seconds, w.Header().Get("RateLimit"))
	require.Equal(t, seconds, w.Header().Get("X-RateLimit-Reset"))

	var h http.Handler
	h = ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{RetryAfter: never})(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w = get(h, "sk_1") }))
	get(h, "sk_1")
	require.Equal(t, seconds, w.Header().Get("Retry-After"))
}

// A limiter of somebody else's may be wrong, but a client that reads the fields should not stumble
// over it.
func TestFieldsAreSoundWhateverTheLimiterSays(t *testing.T) {
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
		require.Equal(t, "9", w.Header().Get("X-RateLimit-Limit"), "a decision without a limit")
		require.Equal(t, row.remaining, w.Header().Get("X-RateLimit-Remaining"))
		require.Equal(t, row.reset, w.Header().Get("X-RateLimit-Reset"))
	}
}

// An adapter around a limiter that only says no has no wait to tell. That must not tell clients to
// give up for good.
func TestDenialWithoutAWaitMayBeRepeated(t *testing.T) {
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

// What a limiter does not say follows from what it does: the numbers that a client reads never
// contradict each other.
func TestDenialOfAForeignLimiterIsConsistent(t *testing.T) {
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
		"nothing, for several":      {answers{}, 3, "20", "1", "0"},
		"less than nothing":         {answers{RetryAfter: -s, RefillAfter: -s, ResetAfter: -s}, 1, "1", "1", "0"},
		"no wait, and an end":       {answers{RetryAfter: -s, ResetAfter: 30 * s}, 1, "30", "30", "30"},
		"a refill before the end":   {answers{RefillAfter: 5 * s, ResetAfter: 12 * s}, 1, "5", "5", "12"},
		"an immediate end":          {answers{ResetAfter: 1}, 3, "1", "1", "1"},
		"forever":                   {answers{RefillAfter: math.MaxInt64}, 4, "9223372036", "9223372036", "9223372036"},
		"a cost over the burst":     {answers{RetryAfter: 7 * s, RefillAfter: s}, 7, "", "1", "0"},
		"more than there can be":    {answers{Remaining: 100, RefillAfter: 2 * s}, 1, "2", "2", "2"},
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

// What a limiter says of a request that it allows is passed on as it is, as far as it can be true.
func TestDecisionOfAnAllowedRequestIsPassedOn(t *testing.T) {
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

// answers is a limiter that always says the same.
type answers ratelimit.Decision

func (a answers) Take(context.Context, ratelimit.Charge) (ratelimit.Decision, error) {
	return ratelimit.Decision(a), nil
}
