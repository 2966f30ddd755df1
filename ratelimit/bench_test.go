package ratelimit_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/ratelimit"
)

// BenchmarkBareAllow is the rate.Limiter alone, for comparison.
func BenchmarkBareAllow(b *testing.B) {
	for name, limit := range benchmarkLimits {
		b.Run(name, func(b *testing.B) {
			l := rate.NewLimiter(rate.Limit(limit.Quota), limit.Quota)
			b.ReportAllocs()
			for b.Loop() {
				l.Allow()
			}
		})
	}
}

func BenchmarkTake(b *testing.B) {
	for name, limit := range benchmarkLimits {
		b.Run(name, func(b *testing.B) {
			m := ratelimit.NewMemory(nil)
			c := ratelimit.Charge{Rule: "default", Key: "0123456789abcdef", Limit: limit, Cost: 1}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = m.Take(b.Context(), c)
			}
		})
	}
}

// BenchmarkTakeManyKeys uses more keys than the cache holds.
func BenchmarkTakeManyKeys(b *testing.B) {
	m := ratelimit.NewMemory(nil)
	c := ratelimit.Charge{Rule: "default", Limit: ratelimit.PerSecond(1_000_000), Cost: 1}
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key_%012d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Key = keys[i%len(keys)]
		_, _ = m.Take(b.Context(), c)
	}
}

var benchmarkLimits = map[string]ratelimit.Limit{
	"admitted": ratelimit.PerSecond(1_000_000_000),
	"denied":   ratelimit.PerSecond(1),
}

// BenchmarkTakeNewKeys is a flood of new keys in a full table.
func BenchmarkTakeNewKeys(b *testing.B) {
	m := ratelimit.NewMemory(nil)
	c := ratelimit.Charge{Rule: "default", Limit: ratelimit.PerMinute(10), Cost: 1}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Key = strconv.Itoa(i)
		_, _ = m.Take(b.Context(), c)
	}
}

func BenchmarkTakeAllOfThree(b *testing.B) {
	m := ratelimit.NewMemory(nil)
	limit := ratelimit.PerSecond(1_000_000_000)
	charges := []ratelimit.Charge{
		{Rule: "key", Key: "0123456789abcdef", Limit: limit, Cost: 1},
		{Rule: "organization", Key: "0123456789abcdef", Limit: limit, Cost: 1},
		{Rule: "address", Key: "203.0.113.9", Limit: limit, Cost: 1},
	}
	into := make([]ratelimit.Decision, len(charges))
	b.ReportAllocs()
	for b.Loop() {
		_ = m.TakeAll(b.Context(), charges, into)
	}
}

func BenchmarkMiddleware(b *testing.B) {
	for name, limit := range benchmarkLimits {
		b.Run(name, func(b *testing.B) {
			h := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: limit, Key: ratelimit.ByHeader("X-Account")})(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			r, w := request("X-Account", "0123456789abcdef"), &discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}
