package peers_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/ratelimit"
)

// taker decides about a request of keys[i].
type taker struct {
	name  string
	setup func(keys []string) (take func(i int) bool)
}

// takers decide without HTTP. They are our Memory, a slice of rate.Limiters, where no key
// is looked up, and a map of rate.Limiters behind a mutex, which never forgets a key.
func takers(perSecond int) []taker {
	return []taker{
		{"seawall", func(keys []string) func(int) bool {
			m := ratelimit.NewMemory(nil)
			limit := ratelimit.PerSecond(perSecond)
			return func(i int) bool {
				c := ratelimit.Charge{Rule: "default", Key: keys[i], Limit: limit, Cost: 1}
				d, err := m.Take(context.Background(), c)
				return err == nil && d.Allowed
			}
		}},
		{"allow", func(keys []string) func(int) bool {
			limiters := make([]*rate.Limiter, len(keys))
			for i := range limiters {
				limiters[i] = rate.NewLimiter(rate.Limit(perSecond), perSecond)
			}
			return func(i int) bool { return limiters[i].Allow() }
		}},
		{"map", func(keys []string) func(int) bool {
			var mu sync.Mutex
			limiters := make(map[string]*rate.Limiter)
			return func(i int) bool {
				mu.Lock()
				l := limiters[keys[i]]
				if l == nil {
					l = rate.NewLimiter(rate.Limit(perSecond), perSecond)
					limiters[keys[i]] = l
				}
				mu.Unlock()
				return l.Allow()
			}
		}},
	}
}

// known returns the decision of a taker that has seen n keys.
func (t taker) known(n int) func(int) bool {
	take := t.setup(manyKeys(n))
	for i := range n {
		take(i)
	}
	return take
}

func inTurn(n int) []side {
	var sides []side
	for _, t := range takers(1e9) {
		sides = append(sides, side{t.name, func(testing.TB) func() {
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
	return sides
}

func TestTakersDecideAlike(t *testing.T) {
	t.Parallel()
	for _, taker := range takers(2) {
		t.Run(taker.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				take := taker.setup(manyKeys(2))
				require.True(t, take(0))
				require.True(t, take(0))
				require.False(t, take(0))
				require.True(t, take(1))
				time.Sleep(time.Second / 2)
				require.True(t, take(0))
				require.False(t, take(0))
			})
		})
	}
}

func BenchmarkTakeHot(b *testing.B) { compare(b, inTurn(1)) }
func BenchmarkTake(b *testing.B)    { compare(b, inTurn(10_000)) }

// BenchmarkTakeParallel starts every goroutine at a different key.
func BenchmarkTakeParallel(b *testing.B) {
	const n = 10_000
	for _, t := range takers(1e9) {
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
