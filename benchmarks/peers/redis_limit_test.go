package peers_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"
	ululimiter "github.com/ulule/limiter/v3"
	uluredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// decide charges one unit to a key.
type decide func(ctx context.Context, key string) (allowed bool, err error)

// sharedLimiter is a limit of n units per window for each key that processes share through
// Redis.
type sharedLimiter struct {
	name string
	open func(tb testing.TB, client *redis.Client, n int, window time.Duration) decide
}

// sharedLimiters are ours and the peers, configured as in their READMEs.
var sharedLimiters = []sharedLimiter{
	{"seawall", func(_ testing.TB, client *redis.Client, n int, window time.Duration) decide {
		// Like the client's ReadTimeout, which the peers have, the timeout is so long that no
		// pause of a busy machine exceeds it.
		limiter := redislimit.New(client, &redislimit.Options{Timeout: 3 * time.Second})
		limit := ratelimit.Per(n, window)
		return func(ctx context.Context, key string) (bool, error) {
			d, err := limiter.Take(ctx, ratelimit.Charge{Rule: "default", Key: key, Limit: limit, Cost: 1})
			return d.Allowed, err
		}
	}},
	{"redis_rate", func(_ testing.TB, client *redis.Client, n int, window time.Duration) decide {
		return redisRate(redis_rate.NewLimiter(client), n, window)
	}},
	{"autopipeline", func(tb testing.TB, client *redis.Client, n int, window time.Duration) decide {
		pipeline, err := client.AutoPipeline()
		require.NoError(tb, err)
		return redisRate(redis_rate.NewLimiter(pipeline), n, window)
	}},
	{"ulule", func(_ testing.TB, client *redis.Client, n int, window time.Duration) decide {
		limit := ululimiter.Rate{Limit: int64(n), Period: window}
		limiter := ululimiter.New(must(uluredis.NewStore(client)), limit)
		return func(ctx context.Context, key string) (bool, error) {
			state, err := limiter.Get(ctx, key)
			return err == nil && !state.Reached, err
		}
	}},
	{"throttled", func(_ testing.TB, client *redis.Client, n int, window time.Duration) decide {
		quota := throttled.RateQuota{MaxRate: throttled.PerDuration(n, window), MaxBurst: n - 1}
		store := must(goredisstore.NewCtx(client, "throttled:"))
		limiter := must(throttled.NewGCRARateLimiterCtx(store, quota))
		return func(ctx context.Context, key string) (bool, error) {
			limited, _, err := limiter.RateLimitCtx(ctx, key, 1)
			return err == nil && !limited, err
		}
	}},
}

func redisRate(limiter *redis_rate.Limiter, n int, window time.Duration) decide {
	limit := redis_rate.Limit{Rate: n, Burst: n, Period: window}
	return func(ctx context.Context, key string) (bool, error) {
		result, err := limiter.Allow(ctx, key, limit)
		return err == nil && result.Allowed > 0, err
	}
}

// deciding compares the limiters. Each has decided about every key before it is measured.
func deciding(b *testing.B, n int, window time.Duration, keys []string, measure func(*testing.B, decide)) {
	var sides []redisSide
	for _, l := range sharedLimiters {
		sides = append(sides, redisSide{l.name, func(b *testing.B, client *redis.Client) func(*testing.B) {
			take := l.open(b, client, n, window)
			for _, key := range keys {
				allowed, err := take(b.Context(), key)
				require.NoError(b, err)
				require.True(b, allowed)
			}
			return func(b *testing.B) { measure(b, take) }
		}})
	}
	compareOnRedis(b, sides)
}

// together makes b.N decisions with all callers. Every caller starts at a different key.
func together(keys []string, want bool) func(*testing.B, decide) {
	return func(b *testing.B, take decide) {
		var errs, wrong atomic.Int64
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				first := caller * len(keys) / callers
				for i := range (b.N + caller) / callers {
					switch allowed, err := take(b.Context(), keys[(first+i)%len(keys)]); {
					case err != nil:
						errs.Add(1)
					case allowed != want:
						wrong.Add(1)
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(errs.Load())/float64(b.N), "errors/op")
		require.Zero(b, wrong.Load(), "wrong decisions")
	}
}

// BenchmarkRedisTake admits 10,000 keys, which take turns.
func BenchmarkRedisTake(b *testing.B) {
	keys := manyKeys(10_000)
	deciding(b, 1000, time.Second, keys, together(keys, true))
}

// BenchmarkRedisTakeHot admits one key.
func BenchmarkRedisTakeHot(b *testing.B) {
	keys := manyKeys(1)
	deciding(b, 10_000_000, time.Second, keys, together(keys, true))
}

// BenchmarkRedisDenied refuses one key.
func BenchmarkRedisDenied(b *testing.B) {
	keys := manyKeys(1)
	deciding(b, 1, time.Hour, keys, together(keys, false))
}

// BenchmarkRedisAlone reports the median latency of a caller that is alone.
func BenchmarkRedisAlone(b *testing.B) {
	keys := manyKeys(1000)
	deciding(b, 1000, time.Second, keys, func(b *testing.B, take decide) {
		took := make([]time.Duration, b.N)
		for i := range took {
			start := time.Now()
			allowed, err := take(b.Context(), keys[i%len(keys)])
			took[i] = time.Since(start)
			if err != nil || !allowed {
				b.Fatal(allowed, err)
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[b.N/2]), "median-ns/op")
	})
}

func TestSharedLimitersDecideAlike(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, s := range sharedLimiters {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			take := s.open(t, connect(t, server), 2, time.Hour)
			for _, tt := range []struct {
				key     string
				allowed bool
			}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"a", false}} {
				allowed, err := take(t.Context(), s.name+tt.key)
				require.NoError(t, err)
				require.Equal(t, tt.allowed, allowed, tt.key)
			}
		})
	}
}

// throttled gives up after ten failed attempts to change a key that others change, and may so
// admit fewer requests than the limit.
func TestSharedLimitersAdmitNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, s := range sharedLimiters {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			const limit = 20
			take := s.open(t, connect(t, server), limit, time.Hour)
			var admitted, errs atomic.Int64
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					allowed, err := take(t.Context(), s.name+"key")
					if err != nil {
						errs.Add(1)
					} else if allowed {
						admitted.Add(1)
					}
				})
			}
			wg.Wait()
			if s.name == "throttled" {
				require.LessOrEqual(t, admitted.Load(), int64(limit))
				return
			}
			require.Zero(t, errs.Load())
			require.EqualValues(t, limit, admitted.Load())
		})
	}
}
