package ratelimit_test

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
)

func TestFieldsOfAdmissionsAndDenials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerMinute(2), Key: ratelimit.ByAPIKey})
		s := memhttp.New(limit(ok))
		defer s.Close()
		send := func(method string) *http.Response {
			r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
			require.NoError(t, err)
			r.Header.Set("X-Api-Key", "sk_1")
			resp, err := s.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			return resp
		}

		resp := send(http.MethodGet)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, []string{`"default";q=2;w=60`}, resp.Header.Values("RateLimit-Policy"))
		require.Equal(t, []string{`"default";r=1;t=30`}, resp.Header.Values("RateLimit"))
		require.Empty(t, resp.Header.Values("Retry-After"))

		resp = send(http.MethodHead)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, `"default";r=0;t=30`, resp.Header.Get("RateLimit"))

		time.Sleep(10500 * time.Millisecond)
		resp = send(http.MethodHead)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		require.Equal(t, `"default";r=0;t=20`, resp.Header.Get("RateLimit"))
		require.Equal(t, []string{"20"}, resp.Header.Values("Retry-After"))

		time.Sleep(20 * time.Second)
		require.Equal(t, http.StatusOK, send(http.MethodGet).StatusCode)
	})
}

// The fields are Lists of Strings with Integers as parameters
// (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4).
func TestFieldsAreStructuredLists(t *testing.T) {
	t.Parallel()
	var printable strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		printable.WriteByte(c)
	}
	all := printable.String()
	names := []string{"default", `"`, `\`, `\"`, `a"b\c`, `";r=9;t=9, "x`, ",;=:", " ", all[:64], all[len(all)-64:]}
	for _, limit := range []ratelimit.Limit{
		ratelimit.PerSecond(100),
		ratelimit.PerHour(1),
		ratelimit.Per(1, 1),
		ratelimit.Per(7, 3*time.Millisecond),
		{Quota: 1e9, Window: 1e9, Burst: 1e9},
		{Quota: 1, Window: time.Hour, Burst: 3},
	} {
		var rules []ratelimit.Rule
		for _, name := range names {
			rules = append(rules, byKey(name, limit))
		}
		everyWay(rules, func(h http.Handler, way string) {
			for i := range 3 {
				header := get(h, "sk_1").Header()
				policies, allowances := readField(t, header, "RateLimit-Policy", "q", "w")
				if i == 0 { // a denial hides the middleware further in
					require.ElementsMatch(t, names, policies, way)
				}
				require.Subset(t, names, policies, way)
				states, left := readField(t, header, "RateLimit", "r", "t")
				require.Equal(t, policies, states, way)
				for i := range left {
					require.LessOrEqual(t, left[i]["r"], max(allowances[i]["q"].(int64), int64(limit.Burst)), way)
				}
			}
		})
	}
}

func TestPolicyWindowIsInWholeSeconds(t *testing.T) {
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

// The largest Duration often means "never".
func TestLargestDurationDoesNotOverflow(t *testing.T) {
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

func TestChangedFieldsAffectNoOtherRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", ratelimit.PerMinute(60)))(
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Ratelimit-Policy"][0] = "changed"
				w.Header().Add("RateLimit-Policy", "added")
			}))
		for i := range 40 {
			before := get(h, "sk_1").Header()
			require.Equal(t, []string{"changed", "added"}, before["Ratelimit-Policy"])
			require.Equal(t, []string{fmt.Sprintf(`"default";r=%d;t=1`, 59-i)}, before["Ratelimit"])
		}
	})
}

func TestErrorsOfTheHandlerCarryTheFields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), nil, byKey(`a "b" \c`, ratelimit.Per(3, 400*time.Millisecond)))(
			apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Retry-After", "7")
				return apierror.ResourceMissing("thing")
			}))
		w := get(h, "sk_1")
		require.Equal(t, 404, w.Code)
		require.Equal(t, `"a \"b\" \\c";q=7;w=1`, w.Header().Get("RateLimit-Policy"))
		require.Equal(t, `"a \"b\" \\c";r=2;t=1`, w.Header().Get("RateLimit"))
		require.Empty(t, w.Header().Get("Retry-After"), "it contradicts X-Should-Retry: false")
	})
}

func TestNoFields(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	h := ratelimit.New(m, &ratelimit.Options{
		LegacyHeaders: true,
		NoFields:      func(r *http.Request) bool { return r.Header.Get("X-Page") == "login" },
	}, byKey("", ratelimit.PerHour(2)))(ok)
	page := request("X-Api-Key", "sk_1", "X-Page", "login")
	w := serve(h, page)
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Header())
	w = get(h, "sk_1")
	require.Equal(t, `"default";r=0;t=1800`, w.Header().Get("RateLimit"))
	require.Equal(t, "0", w.Header().Get("X-RateLimit-Remaining"))
	w = serve(h, page)
	require.Equal(t, 429, w.Code)
	require.Equal(t, "1800", w.Header().Get("Retry-After"))
	for _, name := range []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit"} {
		require.Empty(t, w.Header().Values(name))
	}
}

// Retry-After-Ms is the least wait in milliseconds, within the last second of Retry-After.
func TestRetryAfterMs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		limit ratelimit.Limit
		cost  int
		wait  time.Duration // before the denied request
		after string
		ms    int
	}{
		{ratelimit.PerSecond(100), 1, 0, "1", 10},
		{ratelimit.PerSecond(100), 1, 3 * time.Millisecond, "1", 7},
		{ratelimit.PerSecond(100), 1, 9999 * time.Microsecond, "1", 1},
		{ratelimit.PerSecond(100), 30, 5 * time.Millisecond, "1", 295},
		{ratelimit.PerSecond(100), 100, 0, "1", 1000},
		{ratelimit.PerSecond(3), 1, 0, "1", 334},
		{ratelimit.PerMinute(7), 1, 0, "9", 8572},
		{ratelimit.PerMinute(7), 3, time.Second, "25", 24715},
		{ratelimit.PerHour(1), 1, 0, "3600", 3600_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			rule := byKey("", row.limit)
			cost := row.limit.Quota
			rule.Cost = func(*http.Request) int { return cost }
			h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{RetryAfterMs: true}, rule)(ok)
			w := get(h, "sk_1")
			require.Equal(t, 200, w.Code)
			require.Empty(t, w.Header().Values("Retry-After-Ms"))
			time.Sleep(row.wait)
			cost = row.cost

			w = get(h, "sk_1")

			require.Equal(t, 429, w.Code)
			require.Equal(t, row.after, w.Header().Get("Retry-After"))
			require.Equal(t, []string{strconv.Itoa(row.ms)}, w.Header().Values("Retry-After-Ms"), "%+v", row)
			time.Sleep(time.Duration(row.ms-1) * time.Millisecond)
			require.Equal(t, 429, get(h, "sk_1").Code, "%+v", row)
			time.Sleep(time.Millisecond)
			require.Equal(t, 200, get(h, "sk_1").Code, "%+v", row)
		})
	}
}

// A limiter may know its wait in whole seconds only, or not at all.
func TestRetryAfterMsOfOtherLimiters(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, row := range []struct {
		says answers
		want string
	}{
		{answers{RetryAfter: 3000 * ms}, "3000"},
		{answers{RetryAfter: 3000 * ms, RefillAfter: ms}, "2001"},
		{answers{RetryAfter: 3000 * ms, RefillAfter: 2500 * ms}, "2500"},
		{answers{RetryAfter: 3000 * ms, RefillAfter: time.Hour}, "3000"},
		{answers{RefillAfter: 1}, "1"},
		{answers{}, "1000"},
	} {
		h := ratelimit.New(row.says, &ratelimit.Options{RetryAfterMs: true}, byKey("", ratelimit.PerMinute(60)))(ok)
		require.Equal(t, row.want, get(h, "sk_1").Header().Get("Retry-After-Ms"), "%+v", row.says)
	}
}

func TestCostOverTheBurstHasNoRetryAfterMs(t *testing.T) {
	t.Parallel()
	rule := byKey("", ratelimit.PerMinute(60))
	rule.Cost = func(*http.Request) int { return 61 }
	h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{RetryAfterMs: true}, rule)(ok)
	require.Empty(t, get(h, "sk_1").Header().Values("Retry-After-Ms"))
}
