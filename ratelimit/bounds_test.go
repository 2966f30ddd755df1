package ratelimit_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

// These tests are about values at the edge of what is allowed, and about options that are easily
// taken for off.

func TestLimitsAtTheEdge(t *testing.T) {
	t.Parallel()
	const tenYears = 10 * 365 * 24 * time.Hour
	for name, row := range map[string]struct {
		limit ratelimit.Limit
		wrong string // what the error is about; "" for none
	}{
		"the largest quota":                 {ratelimit.PerSecond(1e9), ""},
		"more":                              {ratelimit.Per(1e9+1, 2*time.Second), "Quota"},
		"one":                               {ratelimit.PerSecond(1), ""},
		"none":                              {ratelimit.PerSecond(0), "Quota"},
		"the largest burst":                 {ratelimit.Limit{Quota: 1e9, Window: time.Second, Burst: 1e9}, ""},
		"a larger one":                      {ratelimit.Limit{Quota: 1e9, Window: time.Second, Burst: 1e9 + 1}, "Burst must"},
		"a negative one":                    {ratelimit.Limit{Quota: 1, Window: time.Second, Burst: -1}, "Burst must"},
		"the least one":                     {ratelimit.Limit{Quota: 1e9, Window: time.Second, Burst: 1}, ""},
		"a unit a nanosecond":               {ratelimit.Per(1000, 1000), ""},
		"more than a unit a nanosecond":     {ratelimit.Per(1001, 1000), "more than a unit per nanosecond"},
		"the shortest window":               {ratelimit.Per(1, 1), ""},
		"a window of nothing":               {ratelimit.Per(1, 0), "Window must be positive"},
		"ten years":                         {ratelimit.Per(7, tenYears), ""},
		"more than ten years":               {ratelimit.Per(7, tenYears+time.Second), "within ten years"},
		"ten years for a burst":             {ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 87600}, ""},
		"more than ten years for a burst":   {ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 87601}, "within ten years"},
		"a small burst of a long window":    {ratelimit.Limit{Quota: 10, Window: 5 * tenYears, Burst: 2}, ""},
		"a larger burst of a long window":   {ratelimit.Limit{Quota: 10, Window: 5 * tenYears, Burst: 3}, "within ten years"},
		"unlimited, which only LimitFor is": {ratelimit.Unlimited(), "Quota"},
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

func TestLargestQuotaAndBurst(t *testing.T) {
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

// A key of 256 bytes goes to the limiter as it is; one of 257 does not.
func TestKeyOfExactly256Bytes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{255, 256, 257} {
		l := &keysTaken{Memory: ratelimit.NewMemory(nil)}
		key := strings.Repeat("x", n)
		h := ratelimit.New(l, nil, ratelimit.Rule{Key: func(*http.Request) (string, error) { return key, nil }})(ok)
		require.Equal(t, 200, get(h, "").Code)
		require.Equal(t, n <= 256, l.keys[0] == key)
		require.LessOrEqual(t, len(l.keys[0]), 256)
	}
}

func TestNamesAtTheEdge(t *testing.T) {
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

// A Reserve and a Hysteresis are shares: 0.5 is half, not off.
func TestShedWithSharesBetweenNoneAndAll(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		o                         ratelimit.ShedOptions
		low, normal, high         int // when each begins to be refused
		lowBack, normalBack, back int // when each is admitted again
	}{
		{ratelimit.ShedOptions{}, 60, 80, 90, 50, 70, 80},
		{ratelimit.ShedOptions{Reserve: 0.5}, 37, 50, 75, 27, 40, 65},
		{ratelimit.ShedOptions{Reserve: 0.04}, 72, 96, 98, 62, 86, 88},
		{ratelimit.ShedOptions{Reserve: -1}, 75, 100, 100, 65, 90, 90},
		{ratelimit.ShedOptions{Hysteresis: 0.5}, 60, 80, 90, 10, 30, 40},
		{ratelimit.ShedOptions{Hysteresis: 0.02}, 60, 80, 90, 58, 78, 88},
		{ratelimit.ShedOptions{Hysteresis: -1}, 60, 80, 90, 59, 79, 89},
		{ratelimit.ShedOptions{Hysteresis: 0.99}, 60, 80, 90, 0, 0, 0},
		{ratelimit.ShedOptions{Reserve: 0.5, Hysteresis: 0.25}, 37, 50, 75, 12, 25, 50},
	} {
		for class, at := range map[ratelimit.Class][2]int{
			ratelimit.ClassLow: {row.low, row.lowBack}, ratelimit.ClassNormal: {row.normal, row.normalBack}, ratelimit.ClassHigh: {row.high, row.back},
		} {
			synctest.Test(t, func(t *testing.T) {
				s := newShedder(t, 100, &row.o)
				require.Equal(t, at[0], s.fill(class), "%+v of class %d", row.o, class)
				running := at[0]
				for !s.admits(class) {
					s.end(1)
					running--
				}
				require.Equal(t, at[1], running, "%+v of class %d", row.o, class)
				s.end(running + 1)
			})
		}
	}
}

// What is exempt runs, and is neither counted nor told to anyone.
func TestExemptRequestsReachTheHandler(t *testing.T) {
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
				require.Equal(t, 200, get(h, "sk_1").Code, name) // within, where nothing is free
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

// The decisions in the events of MaxConcurrent and Shed say what became of the request.
func TestEventsOfConcurrencyLimitsHoldTheDecision(t *testing.T) {
	t.Parallel()
	type middleware = func(http.Handler) http.Handler
	for name, with := range map[string]func(wait time.Duration, observe func(context.Context, ratelimit.Event), shadow bool) middleware{
		"concurrent": func(wait time.Duration, observe func(context.Context, ratelimit.Event), shadow bool) middleware {
			return ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{RetryAfter: wait, Observe: observe, Shadow: shadow})
		},
		"shed": func(wait time.Duration, observe func(context.Context, ratelimit.Event), shadow bool) middleware {
			return ratelimit.Shed(1, nil, &ratelimit.ShedOptions{RetryAfter: wait, Observe: observe, Shadow: shadow})
		},
	} {
		for wait, told := range map[time.Duration]time.Duration{0: time.Second, 1: time.Second, time.Second: time.Second, 1500 * time.Millisecond: 2 * time.Second} {
			for _, shadow := range []bool{false, true} {
				var seen events
				runs := 0
				var h http.Handler
				h = with(wait, seen.observe, shadow)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if runs++; runs == 1 {
						get(h, "sk_1")
					}
					ok(w, r)
				}))
				require.Equal(t, 200, get(h, "sk_1").Code)
				require.Equal(t, []ratelimit.Event{
					{Rule: name, Outcome: ratelimit.OutcomeAllowed, Decision: ratelimit.Decision{Allowed: true}},
					{Rule: name, Outcome: ratelimit.OutcomeDenied, Decision: ratelimit.Decision{RetryAfter: told}, Shadow: shadow},
				}, seen.list)
				require.Equal(t, map[bool]int{false: 1, true: 2}[shadow], runs)
			}
		}
	}
}

// Frameworks such as echo wrap a middleware once for each request: what it knows was made with it,
// not with the wrapping.
func TestStateIsMadeWithTheMiddleware(t *testing.T) {
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
	require.Len(t, log.drain(), 1, "nor is an outage a new one for each request")
}

// Two rules that know nothing of each other do not share buckets because nobody gave them names.
func TestRulesOfOneNameAndDifferentLimitsAreRefused(t *testing.T) {
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

// Plans without a limit.
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

func TestNoFieldsOnChosenRoutes(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	h := ratelimit.New(m, &ratelimit.Options{
		LegacyHeaders: true,
		NoFields:      func(r *http.Request) bool { return r.Header.Get("X-Page") == "log-in" },
	}, byKey("", ratelimit.PerHour(2)))(ok)
	page := request("X-Api-Key", "sk_1", "X-Page", "log-in")
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

// Retry-After-Ms is the least wait in milliseconds, and never contradicts Retry-After.
func TestRetryAfterMs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		limit ratelimit.Limit
		cost  int
		wait  time.Duration // before the denied one
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
	// A limiter that is content with whole seconds is believed.
	for says, want := range map[answers]string{
		{RetryAfter: 3 * time.Second}:                                       "3000",
		{RetryAfter: 3 * time.Second, RefillAfter: time.Millisecond}:        "2001",
		{RetryAfter: 3 * time.Second, RefillAfter: 2500 * time.Millisecond}: "2500",
		{RetryAfter: 3 * time.Second, RefillAfter: time.Hour}:               "3000",
		{RefillAfter: 1}: "1",
		{}:               "1000",
	} {
		h := ratelimit.New(says, &ratelimit.Options{RetryAfterMs: true}, byKey("", ratelimit.PerMinute(60)))(ok)
		require.Equal(t, want, get(h, "sk_1").Header().Get("Retry-After-Ms"), "%+v", says)
	}
	never := byKey("", ratelimit.PerMinute(60))
	never.Cost = func(*http.Request) int { return 61 }
	h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{RetryAfterMs: true}, never)(ok)
	require.Empty(t, get(h, "sk_1").Header().Values("Retry-After-Ms"))
}

// A proxy on the same machine that connects to a Unix socket is trusted when the option says so,
// and only then.
func TestPeersOnAUnixSocket(t *testing.T) {
	t.Parallel()
	type keyed struct {
		key string
		err error
	}
	keys := make(chan keyed, 1)
	trusting := ratelimit.ByAddress(&ratelimit.AddressOptions{TrustUnixSocket: true, Trusted: proxies})
	for name, row := range map[string]struct {
		f         ratelimit.KeyFunc
		forwarded []string
		key       string
		noKey     bool
		fails     bool
	}{
		"trusted":               {f: trusting, forwarded: []string{"198.51.100.1, 203.0.113.9"}, key: "addr:203.0.113.9"},
		"and a proxy behind it": {f: trusting, forwarded: []string{"203.0.113.9, 10.0.0.2"}, key: "addr:203.0.113.9"},
		"nothing is forwarded":  {f: trusting, noKey: true},
		"no address":            {f: trusting, forwarded: []string{"203.0.113.9, unknown"}, noKey: true},
		"not trusted":           {f: ratelimit.ByForwardedFor(proxies...), forwarded: []string{"203.0.113.9"}, fails: true},
		"no proxy is":           {f: ratelimit.ByRemoteAddr, forwarded: []string{"203.0.113.9"}, fails: true},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
		require.NoError(t, err)
		s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			key, err := row.f(r)
			keys <- keyed{key, err}
		})}}
		s.Start()
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://socket/", nil)
		require.NoError(t, err)
		r.Header["X-Forwarded-For"] = row.forwarded
		resp, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		client.CloseIdleConnections()
		s.Close()
		got := <-keys
		require.Equal(t, row.key, got.key, name)
		switch {
		case row.noKey:
			require.ErrorIs(t, got.err, ratelimit.ErrNoKey, name)
		case row.fails:
			require.Error(t, got.err, name)
			require.NotErrorIs(t, got.err, ratelimit.ErrNoKey, name)
		default:
			require.NoError(t, got.err, name)
		}
	}
	// Middleware may put there what a client wrote.
	r := request("X-Forwarded-For", "203.0.113.9")
	for _, peer := range []string{"@", "", "pipe"} {
		r.RemoteAddr = peer
		_, err := trusting(r)
		require.Error(t, err)
		local := r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{}))
		_, err = trusting(local)
		require.Error(t, err)
	}
}

// Headers with one value are read as X-Forwarded-For is.
func TestAddressInAHeaderOfOneValue(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"cf-connecting-ip", "Fly-Client-IP", "X-Real-Ip"} {
		f := ratelimit.ByAddress(&ratelimit.AddressOptions{Trusted: proxies, Header: header, IPv6Bits: 56})
		for _, row := range []struct {
			peer  string
			lines []string
			want  string
		}{
			{"10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
			{"10.0.0.1:1", []string{" 203.0.113.9:80 "}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"64:ff9b::203.0.113.9"}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"2001:db8:0:ff::1"}, "2001:db8::/56"},
			{"10.0.0.1:1", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"203.0.113.9", ""}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
			{"10.0.0.1:1", nil, "10.0.0.1"},
			{"198.51.100.7:1", []string{"203.0.113.9"}, "198.51.100.7"},
		} {
			r := request("X-Forwarded-For", "192.0.2.66")
			r.RemoteAddr = row.peer
			r.Header[http.CanonicalHeaderKey(header)] = row.lines
			key, err := f(r)
			require.NoError(t, err)
			require.Equal(t, "addr:"+row.want, key, "%s: %q", header, row.lines)
		}
	}
	require.Panics(t, func() { ratelimit.ByAddress(&ratelimit.AddressOptions{Header: "forwarded"}) })
}

// What a limiter that failed let through has an outcome of its own. What the local one decided in
// its place is decided.
func TestOutcomeOfWhatPassedUndecided(t *testing.T) {
	t.Parallel()
	for _, shadow := range []bool{false, true} {
		for on, want := range map[ratelimit.Fail]string{
			ratelimit.FailOpen: "default bypassed", ratelimit.FailLocal: "default allowed",
		} {
			var seen events
			var log lines
			l := &broken{Memory: ratelimit.NewMemory(nil), err: apierror.CodeAPIError}
			h := ratelimit.New(l, &ratelimit.Options{OnFailure: on, Shadow: shadow, Observe: seen.observe, Logger: log.logger()}, byKey("", ratelimit.PerHour(1)))(ok)
			w := get(h, "sk_1")
			require.Equal(t, 200, w.Code)
			require.Equal(t, on == ratelimit.FailLocal && !shadow, w.Header().Get("RateLimit") != "")
			require.ErrorIs(t, seen.list[0].Err, apierror.CodeAPIError)
			require.Equal(t, []string{want}, seen.drain())
		}
	}
}
