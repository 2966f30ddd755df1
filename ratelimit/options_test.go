package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

// events collects what an Observe function is told.
type events struct {
	mu   sync.Mutex
	list []ratelimit.Event
}

func (e *events) observe(_ context.Context, event ratelimit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// drain returns what came since the last time, as "policy outcome".
func (e *events) drain() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, event := range e.list {
		s := event.Rule + " " + string(event.Outcome)
		if event.Shadow {
			s += " in shadow"
		}
		out = append(out, s)
	}
	e.list = nil
	return out
}

func byKey(name string, l ratelimit.Limit) ratelimit.Rule {
	return ratelimit.Rule{Name: name, Limit: l, Key: ratelimit.ByAPIKey}
}

func TestSeveralRulesAllAdmitOrNoneIsCharged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen events
		h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Observe: seen.observe},
			byKey("key", ratelimit.PerMinute(60)),
			ratelimit.Rule{Name: "organisation", Limit: ratelimit.PerMinute(2), Key: ratelimit.ByHeader("X-Org")},
		)(ok)
		send := func() *httptest.ResponseRecorder { return serve(h, request("X-Api-Key", "sk_1", "X-Org", "acme")) }

		require.Equal(t, 200, send().Code)
		w := send()
		require.Equal(t, 200, w.Code)
		require.Equal(t, []string{`"key";q=60;w=60, "organisation";q=2;w=60`}, w.Header().Values("RateLimit-Policy"))
		require.Equal(t, []string{`"key";r=58;t=1, "organisation";r=0;t=30`}, w.Header().Values("RateLimit"))
		require.Equal(t, []string{"key allowed", "organisation allowed", "key allowed", "organisation allowed"}, seen.drain())

		for range 3 {
			w = send()
			require.Equal(t, 429, w.Code)
			require.Equal(t, `"key";r=58;t=1, "organisation";r=0;t=30`, w.Header().Get("RateLimit"), "the key is not charged")
			require.Equal(t, []string{"30"}, w.Header().Values("Retry-After"))
		}
		require.Contains(t, seen.drain(), "key denied")
	})
}

func TestRetryAfterIsTheLargestOfThoseThatDeny(t *testing.T) {
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

func TestRulesThatDoNotApply(t *testing.T) {
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

func TestLimitsByPlanAndCostsByRoute(t *testing.T) {
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

func TestCostOverTheBurstIsDeniedForGood(t *testing.T) {
	t.Parallel()
	h := ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("small", ratelimit.PerHour(1)), ratelimit.Rule{
		Key: ratelimit.ByAPIKey, Limit: ratelimit.PerHour(10), Cost: func(r *http.Request) int { return len(r.Header.Values("X-Item")) },
	})(ok)
	dear := request("X-Api-Key", "sk_1")
	dear.Header["X-Item"] = make([]string, 11)
	for range 2 {
		w := serve(h, dear)
		require.Equal(t, 429, w.Code)
		require.Empty(t, w.Header().Values("Retry-After"))
		require.Equal(t, "false", w.Header().Get("X-Should-Retry"))
		require.Contains(t, w.Header().Get("RateLimit"), `"default";r=10;`)

		get(h, "sk_1") // now another rule denies it, too, but only for an hour
	}
}

func TestBugsOfTheServiceAreNotTheCallersFault(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]ratelimit.Rule{
		"a limit that is not valid": {LimitFor: func(*http.Request) ratelimit.Limit { return ratelimit.Limit{Quota: -1, Window: time.Second} }},
		"a negative cost":           {Cost: func(*http.Request) int { return -3 }},
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

func TestShadowModeDeniesNothingAndShowsNothing(t *testing.T) {
	t.Parallel()
	var seen events
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
	h := ratelimit.New(m, &ratelimit.Options{Shadow: true, LegacyHeaders: true, Observe: seen.observe}, byKey("", ratelimit.PerHour(1)))(ok)
	for _, row := range []struct{ key, event string }{
		{"sk_1", "default allowed"},
		{"sk_1", "default denied in shadow"},
		{"", "default no_key in shadow"},
		{"sk_2", "default failed in shadow"}, // no room
	} {
		w := get(h, row.key)
		require.Equal(t, 200, w.Code)
		require.Empty(t, w.Header())
		require.Equal(t, []string{row.event}, seen.drain())
	}
}

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

// What an outer middleware has set stays if it leaves less, and only if it says both.
func TestLegacyHeadersOfAnOuterMiddleware(t *testing.T) {
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
			{"only how much", "0", "", ours},
			{"only for how long", "", "99", ours},
			{"no number", "none", "99", ours},
			{"no time", "0", "soon", ours},
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

// A denial has the numbers of the rule that its Retry-After comes from, however little another one
// leaves.
func TestLegacyHeadersOfADenialDescribeTheRuleThatDenies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tokens := byKey("tokens", ratelimit.PerHour(1000))
		tokens.Cost = func(r *http.Request) int { return 1 + 997*len(r.Header["X-Dear"]) }
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
					first.Header["X-Dear"] = []string{"1"}
					require.Equal(t, 200, serve(h, first).Code)
				} else {
					require.Equal(t, 200, get(h, "sk_1").Code)
				}
				second := first.Clone(t.Context())
				w := serve(h, second)
				require.Equal(t, 429, w.Code, name)
				if way == "stacked" && name == "both deny, one for longer" {
					return // the outer one answers, and knows nothing of the other
				}
				require.Equal(t, row.retry, w.Header().Get("Retry-After"), name)
				require.Equal(t, row.want, legacy(w), "%s, %s", name, way)
			})
		}
	})
}

// everyWay has the rules in one middleware, in either order, and in one of each, in either order.
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

// legacy are the older headers: limit, remaining, reset.
func legacy(w *httptest.ResponseRecorder) [3]string {
	h := w.Header()
	return [3]string{h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Reset")}
}

func TestDenyHandlerGetsTheRuleAndItsDecision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
			Deny: func(w http.ResponseWriter, _ *http.Request, rule string, d ratelimit.Decision) {
				require.Equal(t, "a", rule)
				require.Equal(t, ratelimit.PerMinute(1), d.Limit)
				require.Equal(t, time.Minute, d.RetryAfter)
				w.WriteHeader(http.StatusTeapot)
			},
		}, byKey("a", ratelimit.PerMinute(1)), byKey("b", ratelimit.PerMinute(2)))(ok)
		require.Equal(t, 200, get(h, "sk_1").Code)
		w := get(h, "sk_1")
		require.Equal(t, http.StatusTeapot, w.Code)
		require.Equal(t, "60", w.Header().Get("Retry-After"))
		require.Equal(t, `"a";r=0;t=60, "b";r=1;t=30`, w.Header().Get("RateLimit"))
	})
}

func TestDenialIsThatOfTheFirstRuleOfThoseWithTheLongestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var denied []string
		o := &ratelimit.Options{Deny: func(_ http.ResponseWriter, _ *http.Request, rule string, _ ratelimit.Decision) {
			denied = append(denied, rule)
		}}
		once := ratelimit.PerMinute(1)
		h := ratelimit.New(ratelimit.NewMemory(nil), o, byKey("short", ratelimit.PerSecond(1)), byKey("a", once), byKey("b", once))(ok)
		get(h, "sk_1")
		require.Empty(t, denied)
		get(h, "sk_1")
		require.Equal(t, []string{"a"}, denied)
	})
}

// broken is a limiter whose back end is down for as long as err says so.
type broken struct {
	*ratelimit.Memory
	err error
}

func (b *broken) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	if b.err != nil {
		return ratelimit.Decision{Remaining: -7}, b.err
	}
	return b.Memory.Take(ctx, c)
}

func (b *broken) TakeAll(ctx context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if b.err != nil {
		return b.err
	}
	return b.Memory.TakeAll(ctx, charges, into)
}

func TestLimiterThatFails(t *testing.T) {
	t.Parallel()
	errDown := errors.New("connection refused")
	oneRule := []ratelimit.Rule{byKey("a", ratelimit.PerHour(2))}
	twoRules := []ratelimit.Rule{oneRule[0], byKey("b", ratelimit.PerHour(3))}
	for name, row := range map[string]struct {
		on     ratelimit.Fail
		rules  []ratelimit.Rule
		codes  []int
		events []string
	}{
		"local":             {ratelimit.FailLocal, oneRule, []int{200, 200, 429}, []string{"a allowed", "a allowed", "a denied"}},
		"local, two rules":  {ratelimit.FailLocal, twoRules, []int{200, 200, 429}, []string{"a allowed", "b allowed", "a allowed", "b allowed", "a denied", "b denied"}},
		"open":              {ratelimit.FailOpen, oneRule, []int{200, 200, 200}, []string{"a bypassed", "a bypassed", "a bypassed"}},
		"closed":            {ratelimit.FailClosed, oneRule, []int{503, 503, 503}, []string{"a failed", "a failed", "a failed"}},
		"closed, two rules": {ratelimit.FailClosed, twoRules, []int{503}, []string{"a failed", "b failed"}},
		"open, two rules":   {ratelimit.FailOpen, twoRules, []int{200}, []string{"a bypassed", "b bypassed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen events
			var log strings.Builder
			l := &broken{Memory: ratelimit.NewMemory(nil), err: errDown}
			h := ratelimit.New(l, &ratelimit.Options{
				OnFailure: row.on, Observe: seen.observe, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}, row.rules...)(ok)
			for _, code := range row.codes {
				w := get(h, "sk_secret")
				require.Equal(t, code, w.Code)
				require.NotContains(t, w.Body.String(), "refused")
				require.Equal(t, code == 503, w.Header().Get("Retry-After") == "1")
				require.Equal(t, row.on == ratelimit.FailLocal, w.Header().Get("RateLimit") != "")
			}
			for _, event := range seen.list {
				require.ErrorIs(t, event.Err, errDown)
				require.GreaterOrEqual(t, event.Decision.Remaining, 0)
			}
			require.Equal(t, row.events, seen.drain())
			require.Equal(t, 1, strings.Count(log.String(), "the limiter fails"), log.String())

			gone, cancel := context.WithCancel(t.Context())
			cancel()
			serve(h, request("X-Api-Key", "sk_secret").WithContext(gone))
			require.Zero(t, strings.Count(log.String(), "works again"), "a caller that has gone says nothing about the limiter")

			l.err = nil
			require.Equal(t, 200, get(h, "sk_secret").Code)
			require.Equal(t, 1, strings.Count(log.String(), "works again"), log.String())
			require.NotContains(t, log.String(), "sk_secret")
		})
	}
}

// A caller that has gone makes a back end fail, which says nothing about the back end.
func TestCallerThatHasGone(t *testing.T) {
	t.Parallel()
	for _, on := range []ratelimit.Fail{ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed} {
		var log strings.Builder
		l := &broken{Memory: ratelimit.NewMemory(nil), err: context.Canceled}
		ran := false
		h := ratelimit.New(l, &ratelimit.Options{OnFailure: on, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			byKey("", ratelimit.PerHour(1)))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, 503, serve(h, request("X-Api-Key", "sk_1").WithContext(gone)).Code)

		late, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		require.Equal(t, 504, serve(h, request("X-Api-Key", "sk_1").WithContext(late)).Code)
		require.False(t, ran)
		require.Empty(t, log.String())
	}
}

func TestNoRoomIs503WhateverOnFailureSays(t *testing.T) {
	t.Parallel()
	for _, on := range []ratelimit.Fail{ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed} {
		var log strings.Builder
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
		h := ratelimit.New(m, &ratelimit.Options{OnFailure: on, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			byKey("", ratelimit.PerHour(1)))(ok)
		require.Equal(t, 200, get(h, "sk_1").Code)
		w := get(h, "sk_2")
		require.Equal(t, 503, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Equal(t, 429, get(h, "sk_1").Code)
		require.Contains(t, log.String(), "no room")
		require.NotContains(t, log.String(), "fails")
	}
}

// What a caller that has gone does not get, it is not charged for locally.
func TestCallerThatHasGoneIsNotChargedLocally(t *testing.T) {
	t.Parallel()
	l := &broken{Memory: ratelimit.NewMemory(nil), err: context.Canceled}
	h := ratelimit.New(l, &ratelimit.Options{Logger: slog.New(slog.DiscardHandler)}, byKey("", ratelimit.PerHour(1)))(ok)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, 503, serve(h, request("X-Api-Key", "sk_1").WithContext(gone)).Code)
	require.Equal(t, 200, get(h, "sk_1").Code)
}

// prying looks at what is behind the slices that it gets, and decides nothing when it is told to.
type prying struct {
	*ratelimit.Memory
	idle bool
	seen []string
}

func (p *prying) TakeAll(ctx context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	for _, c := range charges[:cap(charges)] {
		p.seen = append(p.seen, c.Key)
	}
	if p.idle {
		return nil
	}
	return p.Memory.TakeAll(ctx, charges, into)
}

// TestNothingOfARequestIsThereInTheNext looks for keys, which may be secrets, and for decisions,
// which another limiter might leave as they are.
func TestNothingOfARequestIsThereInTheNext(t *testing.T) {
	t.Parallel()
	p := &prying{Memory: ratelimit.NewMemory(nil)}
	third := byKey("c", ratelimit.PerHour(100))
	third.Skip = func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" }
	h := ratelimit.New(p, nil, byKey("a", ratelimit.PerHour(100)), byKey("b", ratelimit.PerHour(100)), third)(ok)
	for range 20 {
		require.Equal(t, 200, get(h, "sk_1").Code)
		p.seen = nil
		require.Equal(t, 200, serve(h, request("X-Api-Key", "sk_2", "X-Skip", "1")).Code)
		require.NotContains(t, p.seen, "api_key:sk_1")
	}
	p.idle = true
	require.Equal(t, 429, get(h, "sk_1").Code)
}

// TestPanicOfAHookIsOnlyThatOfItsRequest shows that nothing stays behind: the next request is
// served, and charged right.
func TestPanicOfAHookIsOnlyThatOfItsRequest(t *testing.T) {
	t.Parallel()
	base := byKey("", ratelimit.PerHour(2))
	for name, change := range map[string]func(r *ratelimit.Rule, o *ratelimit.Options, check func()){
		"Key": func(r *ratelimit.Rule, _ *ratelimit.Options, check func()) {
			r.Key = func(*http.Request) (string, error) { check(); return "k", nil }
		},
		"LimitFor": func(r *ratelimit.Rule, _ *ratelimit.Options, check func()) {
			r.LimitFor = func(*http.Request) ratelimit.Limit { check(); return ratelimit.Limit{} }
		},
		"Cost": func(r *ratelimit.Rule, _ *ratelimit.Options, check func()) {
			r.Cost = func(*http.Request) int { check(); return 1 }
		},
		"Skip": func(r *ratelimit.Rule, _ *ratelimit.Options, check func()) {
			r.Skip = func(*http.Request) bool { check(); return false }
		},
		"Observe": func(_ *ratelimit.Rule, o *ratelimit.Options, check func()) {
			o.Observe = func(context.Context, ratelimit.Event) { check() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rule, o, boom := base, ratelimit.Options{}, true
			change(&rule, &o, func() {
				if boom {
					panic("boom")
				}
			})
			h := ratelimit.New(ratelimit.NewMemory(nil), &o, rule)(ok)
			require.PanicsWithValue(t, "boom", func() { get(h, "sk_1") })
			boom = false
			if name != "Observe" { // it comes after the charge
				require.Equal(t, 200, get(h, "sk_1").Code)
			}
			require.Equal(t, 200, get(h, "sk_1").Code)
			require.Equal(t, 429, get(h, "sk_1").Code)
		})
	}
}

// After a Deny that panics, or ends the goroutine, a denial is a denial as before.
func TestDenyThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := end
			h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
				Deny: func(w http.ResponseWriter, _ *http.Request, _ string, _ ratelimit.Decision) {
					end()
					w.WriteHeader(http.StatusTeapot)
				},
			}, byKey("a", ratelimit.PerHour(1)), byKey("b", ratelimit.PerHour(2)))(ok)
			require.Equal(t, 200, get(h, "sk_1").Code)
			for range 3 {
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					get(h, "sk_1")
				})
				wg.Wait()
			}
			end = func() {}
			w := get(h, "sk_1")
			require.Equal(t, http.StatusTeapot, w.Code)
			require.Equal(t, `"a";r=0;t=3600, "b";r=1;t=1800`, w.Header().Get("RateLimit"))
			require.Equal(t, 200, get(h, "sk_2").Code)
		})
	}
}

func TestNewPanicsOnWhatCannotWork(t *testing.T) {
	t.Parallel()
	good, m := byKey("", ratelimit.PerSecond(1)), ratelimit.NewMemory(nil)
	with := func(change func(*ratelimit.Rule)) ratelimit.Rule {
		r := good
		change(&r)
		return r
	}
	type single struct{ ratelimit.Limiter }
	for name, f := range map[string]func(){
		"no limiter":               func() { ratelimit.New(nil, nil, good) },
		"no rule":                  func() { ratelimit.New(m, nil) },
		"no key":                   func() { ratelimit.New(m, nil, ratelimit.Rule{}) },
		"a name twice":             func() { ratelimit.New(m, nil, good, with(func(r *ratelimit.Rule) { r.Name = "default" })) },
		"a name that is no ASCII":  func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Name = "é" })) },
		"a name with a line break": func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Name = "a\nb" })) },
		"a name without an end":    func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Name = strings.Repeat("x", 65) })) },
		"a limit without a window": func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Limit = ratelimit.Limit{Quota: 1} })) },
		"several rules":            func() { ratelimit.New(single{m}, nil, good, with(func(r *ratelimit.Rule) { r.Name = "b" })) },
		"OnFailure":                func() { ratelimit.New(m, &ratelimit.Options{OnFailure: 3}, good) },
		"a nil handler":            func() { ratelimit.New(m, nil, good)(nil) },
		"MaxKeys":                  func() { ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Panics(t, f)
		})
	}
	require.NotPanics(t, func() { ratelimit.New(single{m}, nil, good) })
}

// What a handler does to one of the fields is not seen in the other, nor in another request's.
func TestFieldsAreTheRequestsOwn(t *testing.T) {
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
		require.Empty(t, w.Header().Get("Retry-After"), "it would contradict X-Should-Retry: false")
	})
}

// A service whose authentication names nobody is told why all of its callers get a 401: once.
func TestMissingPrincipalIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := &ratelimit.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	h := ratelimit.New(ratelimit.NewMemory(nil), o, ratelimit.Rule{Key: ratelimit.ByPrincipal})(http.NotFoundHandler())
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusUnauthorized, w.Code)
	}
	require.Equal(t, 1, strings.Count(log.String(), "seawall.WithPrincipal"), log.String())

	log.Reset()
	anonymous := ratelimit.Rule{Key: ratelimit.First(ratelimit.ByPrincipal, ratelimit.ByRemoteAddr)}
	h = ratelimit.New(ratelimit.NewMemory(nil), o, anonymous)(http.NotFoundHandler())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	require.Empty(t, log.String())
}
