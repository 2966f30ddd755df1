package ratelimit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/ratelimit"
)

func TestConcurrentRequestsGetExactlyTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByAPIKey})
		var admitted atomic.Int64
		h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { admitted.Add(1) }))
		burst := func(each int) {
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					r := request("Authorization", "Bearer sk_1")
					for range each {
						h.ServeHTTP(&discard{http.Header{}}, r)
					}
				})
			}
			wg.Wait()
		}
		burst(1000)
		require.EqualValues(t, 100, admitted.Load())

		time.Sleep(250 * time.Millisecond)
		burst(10)
		require.EqualValues(t, 125, admitted.Load())
	})
}

func TestMissingKeyIsRefusedWith401(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]ratelimit.KeyFunc{
		"principal":    ratelimit.ByPrincipal,
		"API key":      ratelimit.ByAPIKey,
		"header":       ratelimit.ByHeader("X-Account"),
		"empty string": func(*http.Request) (string, error) { return "", nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Key: key})
			w := get(limit(ok), "")
			require.Equal(t, http.StatusUnauthorized, w.Code)
			require.Contains(t, w.Body.String(), `"code":"authentication_failed"`)
		})
	}
}

func TestEachPrincipalHasABucket(t *testing.T) {
	t.Parallel()
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal})
	h := limit(ok)
	as := func(principal string) int {
		r := reqstate.WithPrincipal(httptest.NewRequest(http.MethodGet, "/", nil), principal)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 200, as("a"))
	require.Equal(t, 200, as("b"))
	require.Equal(t, 429, as("a"))
	require.Equal(t, 429, as("b"))
}

// Some frameworks, such as echo, wrap the handler for each request.
func TestWrappingAgainKeepsTheState(t *testing.T) {
	t.Parallel()
	var log lines
	down := &broken{Memory: ratelimit.NewMemory(nil), err: context.DeadlineExceeded}
	for name, row := range map[string]struct {
		limit  func(http.Handler) http.Handler
		second int
	}{
		"New":           {ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", ratelimit.PerHour(1))), 429},
		"FailLocal":     {ratelimit.New(down, &ratelimit.Options{Logger: log.logger()}, byKey("", ratelimit.PerHour(1))), 429},
		"MaxConcurrent": {ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, nil), 429},
		"Shed":          {ratelimit.Shed(1, nil, nil), 503},
	} {
		var second int
		first := get(row.limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			second = get(row.limit(ok), "sk_1").Code
			ok(w, r)
		})), "sk_1")
		require.Equal(t, 200, first.Code, name)
		require.Equal(t, row.second, second, name)
	}
	require.Len(t, log.drain(), 1, "the outage is logged once")
}

func TestExemptRequestsAreNotCountedOrObserved(t *testing.T) {
	t.Parallel()
	var seen events
	skip := func(*http.Request) bool { return true }
	unlimited := func(*http.Request) ratelimit.Limit { return ratelimit.Unlimited() }
	o := &ratelimit.Options{Observe: seen.observe}
	m := ratelimit.NewMemory(nil)
	for name, limit := range map[string]func(http.Handler) http.Handler{
		"Rule.Skip":           ratelimit.New(m, o, ratelimit.Rule{Name: "a", Key: ratelimit.ByAPIKey, Limit: ratelimit.PerHour(1), Skip: skip}),
		"Rule.KeyOptional":    ratelimit.New(m, o, ratelimit.Rule{Name: "b", Key: ratelimit.ByHeader("X-None"), Limit: ratelimit.PerHour(1), KeyOptional: true}),
		"Unlimited":           ratelimit.New(m, o, ratelimit.Rule{Name: "c", Key: ratelimit.ByAPIKey, Limit: ratelimit.PerHour(1), LimitFor: unlimited}),
		"MaxConcurrent, Skip": ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Skip: skip, Observe: seen.observe}),
		"MaxConcurrent, KeyOptional": ratelimit.MaxConcurrent(1, ratelimit.ByHeader("X-None"),
			&ratelimit.ConcurrentOptions{KeyOptional: true, Observe: seen.observe}),
		"Shed, Skip": ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Skip: skip, Observe: seen.observe}),
	} {
		runs := 0
		var h http.Handler
		h = limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if runs++; runs < 5 {
				require.Equal(t, 200, get(h, "sk_1").Code, name) // while all slots are held
			}
			ok(w, r)
		}))
		w := get(h, "sk_1")
		require.Equal(t, 200, w.Code, name)
		require.Equal(t, 5, runs, name)
		require.Empty(t, w.Header(), name)
		require.Empty(t, seen.drain(), name)
	}
	require.Zero(t, m.Stats().Keys)
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

// prying is a limiter that records all keys that it can see, and may leave the decisions
// as they are.
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

func TestRequestsShareNoChargesOrDecisions(t *testing.T) {
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

func TestPanicOfAHookDoesNotAffectOtherRequests(t *testing.T) {
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
			if name != "Observe" { // Observe is called after the charge
				require.Equal(t, 200, get(h, "sk_1").Code)
			}
			require.Equal(t, 200, get(h, "sk_1").Code)
			require.Equal(t, 429, get(h, "sk_1").Code)
		})
	}
}

func TestNewPanicsOnInvalidArguments(t *testing.T) {
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
		"a name outside of ASCII":  func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Name = "é" })) },
		"a name with a line break": func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Name = "a\nb" })) },
		"a long name":              func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Name = strings.Repeat("x", 65) })) },
		"a limit without a window": func() { ratelimit.New(m, nil, with(func(r *ratelimit.Rule) { r.Limit = ratelimit.Limit{Quota: 1} })) },
		"no MultiLimiter":          func() { ratelimit.New(single{m}, nil, good, with(func(r *ratelimit.Rule) { r.Name = "b" })) },
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
