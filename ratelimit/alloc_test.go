//go:build !race

package ratelimit_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/ratelimit"
)

func TestAllocations(t *testing.T) {
	m := ratelimit.NewMemory(nil)
	limit := ratelimit.PerSecond(1_000_000)
	c := charge("0123456789abcdef", limit)
	drained := charge("drained", ratelimit.PerHour(1))
	three := []ratelimit.Charge{charge("a", limit), charge("b", limit), charge("c", limit)}
	into := make([]ratelimit.Decision, 3)

	r := request("X-Account", "acme", "Authorization", "Bearer sk_1", "X-Forwarded-For", "203.0.113.9, 10.0.0.2")
	r = reqstate.WithPrincipal(r, "acct_1")
	r.RemoteAddr = "10.0.0.1:1"
	key := func(f ratelimit.KeyFunc) func() {
		return func() { _, _ = f(r) }
	}
	through := func(mw func(http.Handler) http.Handler) func() {
		h, w := mw(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), &discard{http.Header{}}
		return func() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	}
	rule := func(name string, f ratelimit.KeyFunc) ratelimit.Rule {
		return ratelimit.Rule{Name: name, Limit: limit, Key: f}
	}
	byHeader, byPrincipal := ratelimit.ByHeader("X-Account"), ratelimit.ByPrincipal

	for _, row := range []struct {
		name   string
		budget float64
		f      func()
	}{
		{"Take, admitted", 0, func() { _, _ = m.Take(t.Context(), c) }},
		{"Take, denied", 0, func() { _, _ = m.Take(t.Context(), drained) }},
		{"TakeAll of three", 0, func() { _ = m.TakeAll(t.Context(), three, into) }},
		{"ByHeader", 1, key(ratelimit.ByHeader("X-Account"))},
		{"ByAPIKey, Bearer", 1, key(ratelimit.ByAPIKey)},
		{"ByPrincipal", 1, key(ratelimit.ByPrincipal)},
		{"ByForwardedFor", 2, key(ratelimit.ByForwardedFor(proxies...))},
		{"middleware, ByHeader", 5, through(ratelimit.New(m, nil, rule("h", byHeader)))},
		{"middleware, ByPrincipal", 5, through(ratelimit.New(m, nil, rule("p", byPrincipal)))},
		{"middleware, two rules", 11, through(ratelimit.New(m, nil, rule("p2", byPrincipal), rule("h2", byHeader)))},
		{"middleware, denied", 10, through(ratelimit.New(m, nil, ratelimit.Rule{Name: "d", Limit: ratelimit.PerHour(1), Key: byHeader}))},
		{"MaxConcurrent, ByPrincipal", 1, through(ratelimit.MaxConcurrent(10, ratelimit.ByPrincipal, nil))},
		{"Shed", 0, through(ratelimit.Shed(10, nil, nil))},
	} {
		row.f()
		got := testing.AllocsPerRun(1000, row.f)
		t.Logf("%-28s %v allocations, budget %v", row.name, got, row.budget)
		if got > row.budget {
			t.Errorf("%s: %v allocations, budget %v", row.name, got, row.budget)
		}
	}
}

// TestAllocatedBytesPerKey fills a table for a million keys of 16 bytes.
func TestAllocatedBytesPerKey(t *testing.T) {
	const keys = 1_000_000
	before := heap()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: keys + keys/25}) // seven standard deviations of how keys spread over its parts
	var key [16]byte
	now := time.Now()
	for i := range uint64(keys) {
		binary.LittleEndian.PutUint64(key[:], i)
		_, err := m.TakeAt(now, charge(string(key[:]), ratelimit.PerHour(10)))
		require.NoError(t, err)
	}
	perKey := float64(heap()-before) / keys
	require.Equal(t, ratelimit.MemoryStats{Keys: keys}, m.Stats())
	t.Logf("%.1f bytes a key", perKey)
	require.LessOrEqual(t, perKey, 136.0)
}

// heap returns the bytes of the heap that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestAllocatedBytesOfAMillionNewKeys charges a million keys in a table of the default
// size. It would take minutes with the race detector.
func TestAllocatedBytesOfAMillionNewKeys(t *testing.T) {
	goroutines, before := runtime.NumGoroutine(), heap()
	m := ratelimit.NewMemory(nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 1_000_000 {
		key := strconv.FormatUint(rnd.Uint64(), 36)
		_, err := m.TakeAt(epoch.Add(time.Duration(i)*time.Microsecond), charge(key, ratelimit.PerHour(10)))
		if err != nil {
			t.Fatal(err)
		}
		if i%10_000 == 0 {
			require.LessOrEqual(t, m.Stats().Keys, 65_536)
		}
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	grown := heap() - before
	stats := m.Stats()
	require.Equal(t, 65_536, stats.Keys)
	require.EqualValues(t, 1_000_000-65_536, stats.Evicted)
	require.LessOrEqual(t, grown, int64(16<<20))
	t.Logf("%d keys in %d bytes: %.1f a key", stats.Keys, grown, float64(grown)/float64(stats.Keys))
}

// TestAllocatedBytesOfMaxConcurrent sends requests of a million keys, one after the other.
func TestAllocatedBytesOfMaxConcurrent(t *testing.T) {
	h := ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	before := heap()
	r, w := request(), &discard{http.Header{}}
	for i := range 1_000_000 {
		r.Header["X-Api-Key"] = []string{strconv.Itoa(i)}
		h.ServeHTTP(w, r)
	}
	grown := heap() - before
	t.Logf("%d bytes", grown)
	require.Less(t, grown, int64(1<<20))
	require.NotNil(t, h)
}
