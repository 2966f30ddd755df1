package ratelimit_test

import (
	"context"
	"testing"

	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/ratelimit"
)

// BenchmarkBareAllow is what everything else is measured against: a rate.Limiter without a table.
func BenchmarkBareAllow(b *testing.B) {
	l := rate.NewLimiter(1e6, 1000)
	b.ReportAllocs()
	for b.Loop() {
		l.Allow()
	}
}

func BenchmarkTake(b *testing.B) {
	m := ratelimit.NewMemory(nil)
	c := ratelimit.Charge{Policy: "default", Key: "0123456789abcdef", Limit: ratelimit.PerSecond(1_000_000), Cost: 1}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = m.Take(context.Background(), c)
	}
}
