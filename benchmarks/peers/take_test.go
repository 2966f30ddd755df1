package peers_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/ratelimit"
)

// taker decides for one of the keys.
type taker struct {
	name  string
	setup func(keys []string) (take func(i int) bool)
}

// takers are the decision without HTTP: ours, the bare rate.Limiter of golang.org/x/time that it is built on, without any table
// of keys, and the table that one writes oneself.
func takers() []taker {
	const perSecond, burst = 1e9, 1e9
	return []taker{
		{"seawall", func(keys []string) func(int) bool {
			m := ratelimit.NewMemory(nil)
			limit := ratelimit.PerSecond(perSecond)
			return func(i int) bool {
				d, err := m.Take(context.Background(), ratelimit.Charge{Rule: "default", Key: keys[i], Limit: limit, Cost: 1})
				return err == nil && d.Allowed
			}
		}},
		{"allow", func(keys []string) func(int) bool {
			limiters := make([]*rate.Limiter, len(keys))
			for i := range limiters {
				limiters[i] = rate.NewLimiter(perSecond, burst)
			}
			return func(i int) bool { return limiters[i].Allow() }
		}},
		{"map+mutex", func(keys []string) func(int) bool {
			var mu sync.Mutex
			limiters := make(map[string]*rate.Limiter)
			return func(i int) bool {
				mu.Lock()
				l := limiters[keys[i]]
				if l == nil {
					l = rate.NewLimiter(perSecond, burst)
					limiters[keys[i]] = l
				}
				mu.Unlock()
				return l.Allow()
			}
		}},
	}
}

// keyed16 are n keys of 16 bytes.
func keyed16(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key_%012d", i)
	}
	return keys
}

// known prepares a taker that has seen all of n keys.
func (t taker) known(n int) func(int) bool {
	take := t.setup(keyed16(n))
	for i := range n {
		take(i)
	}
	return take
}

func serially(n int) []contender {
	var contenders []contender
	for _, t := range takers() {
		contenders = append(contenders, contender{t.name, func(testing.TB) func() {
			take, i := t.known(n), 0
			return func() {
				if !take(i) {
					panic("denied")
				}
				if i++; i == n {
					i = 0
				}
			}
		}})
	}
	return contenders
}

func BenchmarkTakeHot(b *testing.B) { compare(b, serially(1)) }
func BenchmarkTake(b *testing.B)    { compare(b, serially(10_000)) }

// Every goroutine begins elsewhere among the keys.
func BenchmarkTakeParallel(b *testing.B) {
	const n = 10_000
	for _, t := range takers() {
		take := t.known(n)
		var begin atomic.Int64
		b.Run(t.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				i := int(begin.Add(n/3)) % n
				for pb.Next() {
					take(i)
					if i++; i == n {
						i = 0
					}
				}
			})
		})
	}
}
