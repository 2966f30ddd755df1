package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestNamesArePrintableASCII(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	for name, good := range map[string]bool{
		strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, " ": true, "~": true, "\x1f": false, "\x7f": false, "x": true,
	} {
		if good {
			require.NotPanics(t, func() { ratelimit.New(m, nil, byKey(name, ratelimit.PerSecond(1))) })
		} else {
			require.Panics(t, func() { ratelimit.New(m, nil, byKey(name, ratelimit.PerSecond(1))) })
		}
	}
}

// Two rules that have no name would share their buckets.
func TestNewPanicsOnOneNameWithTwoLimits(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(m *ratelimit.Memory) ratelimit.Limiter{
		"Memory":    func(m *ratelimit.Memory) ratelimit.Limiter { return m },
		"decorated": func(m *ratelimit.Memory) ratelimit.Limiter { return &broken{Memory: m} },
	} {
		m := ratelimit.NewMemory(nil)
		ratelimit.New(wrap(m), nil, byKey("", ratelimit.PerSecond(100)))
		require.Panics(t, func() { ratelimit.New(wrap(m), nil, byKey("", ratelimit.PerMinute(5))) }, name)
		require.Panics(t, func() { ratelimit.New(wrap(m), nil, byKey("default", ratelimit.PerMinute(100))) }, name)
		require.NotPanics(t, func() { ratelimit.New(wrap(m), nil, byKey("slow", ratelimit.PerMinute(5))) }, name)
		require.NotPanics(t, func() { ratelimit.New(wrap(m), nil, ratelimit.Rule{Key: ratelimit.ByPrincipal}) }, "%s: the same limit", name)
		require.NotPanics(t, func() { ratelimit.New(wrap(ratelimit.NewMemory(nil)), nil, byKey("", ratelimit.PerMinute(5))) }, name)
	}
}

// A service may recover, correct the rules, and try again.
func TestNewThatPanicsOnARuleRegistersNone(t *testing.T) {
	t.Parallel()
	for name, invalid := range map[string]ratelimit.Rule{
		"no key":        {Name: "second"},
		"the same name": byKey("first", ratelimit.PerSecond(1)),
	} {
		m := ratelimit.NewMemory(nil)
		first := byKey("first", ratelimit.PerSecond(1))
		require.Panics(t, func() { ratelimit.New(m, nil, first, invalid) }, name)
		first.Limit = ratelimit.PerSecond(2)
		require.NotPanics(t, func() { ratelimit.New(m, nil, first) }, name)
	}
}

func TestRulesThatDoNotApplyHaveNoFields(t *testing.T) {
	t.Parallel()
	h := ratelimit.New(ratelimit.NewMemory(nil), nil,
		ratelimit.Rule{Name: "skip", Key: ratelimit.ByAPIKey, Skip: func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" }},
		ratelimit.Rule{Name: "optional", Key: ratelimit.ByHeader("X-Org"), KeyOptional: true},
	)(ok)
	for want, headers := range map[string][]string{
		`"skip";q=100;w=1, "optional";q=100;w=1`: {"X-Api-Key", "sk_1", "X-Org", "acme"},
		`"skip";q=100;w=1`:                       {"X-Api-Key", "sk_1"},
		`"optional";q=100;w=1`:                   {"X-Skip", "1", "X-Org", "acme"},
		``:                                       {"X-Skip", "1"},
	} {
		w := serve(h, request(headers...))
		require.Equal(t, 200, w.Code)
		require.Equal(t, want, w.Header().Get("RateLimit-Policy"))
	}
	require.Equal(t, 401, serve(h, request("X-Org", "acme")).Code)
}

func TestUnlimitedCallersAreExemptFromTheRule(t *testing.T) {
	t.Parallel()
	plans := map[string]ratelimit.Limit{"staff": ratelimit.Unlimited(), "gold": ratelimit.PerHour(7)}
	rule := byKey("plan", ratelimit.PerHour(1))
	rule.LimitFor = func(r *http.Request) ratelimit.Limit {
		return plans[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	}
	h := ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("all", ratelimit.PerHour(1000)), rule)(ok)
	for range 5 {
		w := get(h, "staff")
		require.Equal(t, 200, w.Code)
		require.Equal(t, `"all";q=1000;w=3600`, w.Header().Get("RateLimit-Policy"))
	}
	require.Contains(t, get(h, "gold").Header().Get("RateLimit-Policy"), `"plan";q=7;w=3600`)
	require.Contains(t, get(h, "other").Header().Get("RateLimit-Policy"), `"plan";q=1;w=3600`)
}

func TestLimitForAndCost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
			Limit: ratelimit.PerMinute(10),
			Key:   ratelimit.ByAPIKey,
			LimitFor: func(r *http.Request) ratelimit.Limit {
				if strings.HasPrefix(r.Header.Get("X-Api-Key"), "gold_") {
					return ratelimit.PerMinute(60)
				}
				return ratelimit.Limit{}
			},
			Cost: func(r *http.Request) int { return len(r.Header.Values("X-Item")) },
		})(ok)

		w := serve(h, request("X-Api-Key", "sk_1", "X-Item", "1", "X-Item", "2"))
		require.Equal(t, `"default";q=10;w=60`, w.Header().Get("RateLimit-Policy"))
		require.Equal(t, `"default";r=8;t=6`, w.Header().Get("RateLimit"))

		w = serve(h, request("X-Api-Key", "gold_1", "X-Item", "1"))
		require.Equal(t, `"default";q=60;w=60`, w.Header().Get("RateLimit-Policy"))
		require.Equal(t, `"default";r=59;t=1`, w.Header().Get("RateLimit"))

		w = serve(h, request("X-Api-Key", "sk_1"))
		require.Equal(t, 200, w.Code)
		require.Equal(t, `"default";r=8;t=6`, w.Header().Get("RateLimit"), "a cost of 0 is free")
	})
}

func TestCostOverTheBurstIsDeniedWithoutRetryAfter(t *testing.T) {
	t.Parallel()
	h := ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("small", ratelimit.PerHour(1)), ratelimit.Rule{
		Key: ratelimit.ByAPIKey, Limit: ratelimit.PerHour(10), Cost: func(r *http.Request) int { return len(r.Header.Values("X-Item")) },
	})(ok)
	costly := request("X-Api-Key", "sk_1")
	costly.Header["X-Item"] = make([]string, 11)
	for range 2 {
		w := serve(h, costly)
		require.Equal(t, 429, w.Code)
		require.Empty(t, w.Header().Values("Retry-After"))
		require.Equal(t, "false", w.Header().Get("X-Should-Retry"))
		require.Contains(t, w.Header().Get("RateLimit"), `"default";r=10;`)

		get(h, "sk_1") // now the other rule denies it too, for an hour
	}
}

func TestInvalidLimitOrCostIs500(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]ratelimit.Rule{
		"an invalid limit": {LimitFor: func(*http.Request) ratelimit.Limit { return ratelimit.Limit{Quota: -1, Window: time.Second} }},
		"a negative cost":  {Cost: func(*http.Request) int { return -3 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen events
			rule.Key = ratelimit.ByAPIKey
			h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Observe: seen.observe}, rule)(ok)
			w := get(h, "sk_1")
			require.Equal(t, 500, w.Code)
			require.NotContains(t, w.Body.String(), "ratelimit")
			require.Equal(t, []string{"default failed"}, seen.drain())
		})
	}
}

func TestDeniedRequestsAreNotChargedByOtherRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Observe: seen.observe},
			byKey("key", ratelimit.PerMinute(60)),
			ratelimit.Rule{Name: "organization", Limit: ratelimit.PerMinute(2), Key: ratelimit.ByHeader("X-Org")},
		)(ok)
		send := func() *httptest.ResponseRecorder { return serve(h, request("X-Api-Key", "sk_1", "X-Org", "acme")) }

		require.Equal(t, 200, send().Code)
		w := send()
		require.Equal(t, 200, w.Code)
		require.Equal(t, []string{`"key";q=60;w=60, "organization";q=2;w=60`}, w.Header().Values("RateLimit-Policy"))
		require.Equal(t, []string{`"key";r=58;t=1, "organization";r=0;t=30`}, w.Header().Values("RateLimit"))
		require.Equal(t, []string{"key allowed", "organization allowed", "key allowed", "organization allowed"}, seen.drain())

		for range 3 {
			w = send()
			require.Equal(t, 429, w.Code)
			require.Equal(t, `"key";r=58;t=1, "organization";r=0;t=30`, w.Header().Get("RateLimit"), "the key is not charged")
			require.Equal(t, []string{"30"}, w.Header().Values("Retry-After"))
		}
		require.Contains(t, seen.drain(), "key denied")
	})
}

func TestRetryAfterIsTheLongestWaitOfTheRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), nil,
			byKey("a", ratelimit.PerMinute(1)), byKey("b", ratelimit.PerHour(1)), byKey("c", ratelimit.PerSecond(1)))(ok)
		require.Equal(t, 200, get(h, "sk_1").Code)
		w := get(h, "sk_1")
		require.Equal(t, 429, w.Code)
		require.Equal(t, []string{"3600"}, w.Header().Values("Retry-After"))
	})
}

func TestStackedMiddlewareAppendsItsFields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := ratelimit.NewMemory(nil)
		inner := ratelimit.New(m, nil, byKey("inner", ratelimit.PerMinute(1)))(ok)
		h := ratelimit.New(m, nil, byKey("outer", ratelimit.PerMinute(60)))(inner)
		require.Equal(t, 200, get(h, "sk_1").Code)
		w := get(h, "sk_1")
		require.Equal(t, 429, w.Code)
		require.Equal(t, []string{`"outer";q=60;w=60, "inner";q=1;w=60`}, w.Header().Values("RateLimit-Policy"))
		require.Equal(t, []string{`"outer";r=58;t=1, "inner";r=0;t=60`}, w.Header().Values("RateLimit"))
		require.Equal(t, []string{"60"}, w.Header().Values("Retry-After"))
	})
}
