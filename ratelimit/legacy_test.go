package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestLegacyHeadersDescribeTheRuleThatLeavesTheLeast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, row := range map[string]struct {
			rules []ratelimit.Rule
			want  [3]string
		}{
			"fewer remain":            {[]ratelimit.Rule{byKey("a", ratelimit.PerSecond(100)), byKey("b", ratelimit.PerMinute(6))}, [3]string{"6", "5", "10"}},
			"as many, for longer":     {[]ratelimit.Rule{byKey("a", ratelimit.PerMinute(6)), byKey("b", ratelimit.PerHour(6))}, [3]string{"6", "5", "600"}},
			"a burst over the quota":  {[]ratelimit.Rule{byKey("a", ratelimit.Limit{Quota: 10, Window: time.Minute, Burst: 100})}, [3]string{"100", "99", "6"}},
			"a burst under the quota": {[]ratelimit.Rule{byKey("a", ratelimit.Limit{Quota: 10, Window: time.Minute, Burst: 2})}, [3]string{"10", "1", "6"}},
			"a burst, and fewer remain": {[]ratelimit.Rule{
				byKey("a", ratelimit.Limit{Quota: 10, Window: time.Minute, Burst: 100}), byKey("b", ratelimit.PerMinute(60)),
			}, [3]string{"60", "59", "1"}},
		} {
			everyWay(row.rules, func(h http.Handler, way string) {
				require.Equal(t, row.want, legacy(get(h, "sk_1")), "%s, %s", name, way)
			})
		}
	})
}

func TestLegacyHeadersOfAnOuterMiddlewareStayIfTheyLeaveLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours := [3]string{"12", "11", "60"} // 12 in 12 minutes
		for _, row := range []struct {
			name, remaining, reset string
			want                   [3]string
		}{
			{"less", "10", "20", [3]string{"50", "10", "20"}},
			{"as much, for longer", "11", "61", [3]string{"50", "11", "61"}},
			{"as much, forever", "11", "9223372036854775807", [3]string{"50", "11", "9223372036854775807"}},
			{"as much, for as long", "11", "60", [3]string{"50", "11", "60"}},
			{"as much, for less long", "11", "59", ours},
			{"more", "12", "99", ours},
			{"only remaining", "0", "", ours},
			{"only reset", "", "99", ours},
			{"remaining is not a number", "none", "99", ours},
			{"reset is not a number", "0", "soon", ours},
		} {
			inner := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{LegacyHeaders: true}, byKey("", ratelimit.Per(12, 12*time.Minute)))(ok)
			w := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-RateLimit-Limit", "50")
				w.Header().Set("X-RateLimit-Remaining", row.remaining)
				w.Header().Set("X-RateLimit-Reset", row.reset)
				inner.ServeHTTP(w, r)
			}), request("X-Api-Key", "sk_1"))
			require.Equal(t, row.want, legacy(w), row.name)
		}
	})
}

func TestLegacyHeadersOfADenialDescribeTheRuleThatDenies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tokens := byKey("tokens", ratelimit.PerHour(1000))
		tokens.Cost = func(r *http.Request) int { return 1 + 997*len(r.Header["X-Costly"]) }
		for name, row := range map[string]struct {
			rules []ratelimit.Rule
			want  [3]string
			retry string
		}{
			"another leaves less": {[]ratelimit.Rule{byKey("requests", ratelimit.PerMinute(3)), tokens}, [3]string{"1000", "2", "3593"}, "3586"},
			"another leaves as little": {[]ratelimit.Rule{byKey("requests", ratelimit.PerMinute(2)), byKey("few", ratelimit.PerHour(1))},
				[3]string{"1", "0", "3600"}, "3600"},
			"both deny, one for longer": {[]ratelimit.Rule{byKey("short", ratelimit.PerMinute(1)), byKey("long", ratelimit.PerHour(1))},
				[3]string{"1", "0", "3600"}, "3600"},
		} {
			everyWay(row.rules, func(h http.Handler, way string) {
				first := request("Authorization", "Bearer sk_1")
				if name == "another leaves less" {
					first.Header["X-Costly"] = []string{"1"}
					require.Equal(t, 200, serve(h, first).Code)
				} else {
					require.Equal(t, 200, get(h, "sk_1").Code)
				}
				second := first.Clone(t.Context())
				w := serve(h, second)
				require.Equal(t, 429, w.Code, name)
				if way == "stacked" && name == "both deny, one for longer" {
					return // the outer middleware answers alone
				}
				require.Equal(t, row.retry, w.Header().Get("Retry-After"), name)
				require.Equal(t, row.want, legacy(w), "%s, %s", name, way)
			})
		}
	})
}

// everyWay calls f with the rules in one middleware, and with one middleware for each, in
// both orders.
func everyWay(rules []ratelimit.Rule, f func(h http.Handler, way string)) {
	o := &ratelimit.Options{LegacyHeaders: true}
	turned := slices.Clone(rules)
	slices.Reverse(turned)
	for _, list := range [][]ratelimit.Rule{rules, turned} {
		f(ratelimit.New(ratelimit.NewMemory(nil), o, list...)(ok), "together")
		var h http.Handler = ok
		for _, rule := range list {
			h = ratelimit.New(ratelimit.NewMemory(nil), o, rule)(h)
		}
		f(h, "stacked")
	}
}

// legacy returns the legacy headers: limit, remaining, reset.
func legacy(w *httptest.ResponseRecorder) [3]string {
	h := w.Header()
	return [3]string{h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Reset")}
}
