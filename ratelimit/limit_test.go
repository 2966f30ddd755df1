package ratelimit_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestLimitValidate(t *testing.T) {
	t.Parallel()
	const tenYears = 10 * 365 * 24 * time.Hour
	for name, row := range map[string]struct {
		limit ratelimit.Limit
		wrong string // part of the error; "" for none
	}{
		"the largest quota":               {ratelimit.PerSecond(1e9), ""},
		"over the largest quota":          {ratelimit.Per(1e9+1, 2*time.Second), "Quota"},
		"a quota of 1":                    {ratelimit.PerSecond(1), ""},
		"a quota of 0":                    {ratelimit.PerSecond(0), "Quota"},
		"the largest burst":               {ratelimit.Limit{Quota: 1e9, Window: time.Second, Burst: 1e9}, ""},
		"over the largest burst":          {ratelimit.Limit{Quota: 1e9, Window: time.Second, Burst: 1e9 + 1}, "Burst must"},
		"a negative burst":                {ratelimit.Limit{Quota: 1, Window: time.Second, Burst: -1}, "Burst must"},
		"a burst of 1":                    {ratelimit.Limit{Quota: 1e9, Window: time.Second, Burst: 1}, ""},
		"a unit a nanosecond":             {ratelimit.Per(1000, 1000), ""},
		"more than a unit a nanosecond":   {ratelimit.Per(1001, 1000), "more than a unit per nanosecond"},
		"the shortest window":             {ratelimit.Per(1, 1), ""},
		"a window of 0":                   {ratelimit.Per(1, 0), "Window must be positive"},
		"ten years":                       {ratelimit.Per(7, tenYears), ""},
		"more than ten years":             {ratelimit.Per(7, tenYears+time.Second), "within ten years"},
		"ten years for a burst":           {ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 87600}, ""},
		"more than ten years for a burst": {ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 87601}, "within ten years"},
		"a small burst of a long window":  {ratelimit.Limit{Quota: 10, Window: 5 * tenYears, Burst: 2}, ""},
		"a larger burst of a long window": {ratelimit.Limit{Quota: 10, Window: 5 * tenYears, Burst: 3}, "within ten years"},
		"Unlimited":                       {ratelimit.Unlimited(), "Quota"},
	} {
		err := row.limit.Validate()
		if row.wrong != "" {
			require.ErrorContains(t, err, row.wrong, name)
			require.Panics(t, func() { ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", row.limit)) }, name)
			continue
		}
		require.NoError(t, err, name)
		w := get(ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", row.limit))(ok), "sk_1")
		require.Equal(t, 200, w.Code, name)
	}
}

func TestLargestQuotaAndBurstWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []ratelimit.Limit{ratelimit.PerHour(1e9), {Quota: 1, Window: 100 * time.Millisecond, Burst: 1e9}} {
			rule := byKey("", limit)
			cost := int(1e9)
			rule.Cost = func(*http.Request) int { return cost }
			h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{LegacyHeaders: true}, rule)(ok)
			cost = 1e9 + 1
			w := get(h, "sk_1")
			require.Equal(t, 429, w.Code)
			require.Contains(t, w.Header().Get("RateLimit"), "r=1000000000;")
			require.Equal(t, "1000000000", w.Header().Get("X-RateLimit-Limit"))
			cost = 1e9
			require.Equal(t, 200, get(h, "sk_1").Code)
			require.Equal(t, 429, get(h, "sk_1").Code)
		}
	})
}
