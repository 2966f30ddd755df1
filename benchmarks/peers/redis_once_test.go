package peers_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	fiberredis "github.com/gofiber/storage/redis/v3"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// sharedOnce is a way to run a POST only once in all processes that share a Redis. open is called
// for each process.
type sharedOnce struct {
	name string
	open func(client *redis.Client) func(tb testing.TB, handler http.HandlerFunc) sender
}

// sharedOnces are our middleware, fiber's middleware with a lock in Redis, which it lacks, and
// fiber's middleware with its own lock, which other processes do not see.
var sharedOnces = []sharedOnce{
	{"seawall", func(client *redis.Client) func(testing.TB, http.HandlerFunc) sender {
		wrap := guard(redisstore.New(client, nil))
		return func(tb testing.TB, handler http.HandlerFunc) sender { return overHTTP(tb, wrap(handler)) }
	}},
	{"redislock", func(client *redis.Client) func(testing.TB, http.HandlerFunc) sender {
		return overFiber(idempotency.Config{
			Storage: fiberredis.NewFromConnection(client),
			Lock:    &redisLocker{client: redislock.New(client)},
		})
	}},
	{"memorylock", func(client *redis.Client) func(testing.TB, http.HandlerFunc) sender {
		return overFiber(idempotency.Config{Storage: fiberredis.NewFromConnection(client)})
	}},
}

// redisLocker is a lock for fiber's middleware that all processes share. A lock ends after 30
// seconds, as our leases do, but nothing renews it.
type redisLocker struct {
	client *redislock.Client
	held   sync.Map // key to *redislock.Lock
}

func (l *redisLocker) Lock(key string) error {
	wait := &redislock.Options{RetryStrategy: redislock.LinearBackoff(10 * time.Millisecond)}
	lock, err := l.client.Obtain(context.Background(), "lock:"+key, 30*time.Second, wait)
	if err == nil {
		l.held.Store(key, lock)
	}
	return err
}

func (l *redisLocker) Unlock(key string) error {
	lock, _ := l.held.LoadAndDelete(key)
	return lock.(*redislock.Lock).Release(context.Background())
}

func oncesOnRedis(operation func(once, testing.TB) func()) []redisSide {
	var sides []redisSide
	for _, s := range sharedOnces {
		sides = append(sides, redisSide{s.name, func(b *testing.B, client *redis.Client) func(*testing.B) {
			op := operation(once{s.name, s.open(client)}, b)
			op() // loads the scripts
			return func(b *testing.B) {
				for range b.N {
					op()
				}
			}
		}})
	}
	return sides
}

func BenchmarkRedisFirstRun(b *testing.B) { compareOnRedis(b, oncesOnRedis(once.firstRun)) }
func BenchmarkRedisReplay(b *testing.B)   { compareOnRedis(b, oncesOnRedis(once.replay)) }

func TestARequestRunsOnceWithRedis(t *testing.T) {
	t.Parallel()
	for _, s := range sharedOnces {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			once{s.name, s.open(connect(t, redistest.Start(t)))}.requireOnce(t)
		})
	}
}

func TestDuplicatesInTwoProcessesRunOnce(t *testing.T) {
	t.Parallel()
	for _, s := range sharedOnces {
		if s.name == "memorylock" {
			continue // its lock is in the memory of one process
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var runs atomic.Int32
			running, finish := make(chan struct{}, 4), make(chan struct{})
			handler := func(w http.ResponseWriter, r *http.Request) {
				runs.Add(1)
				running <- struct{}{}
				<-finish
				created(w, r)
			}
			key := freshKeys()()
			var wg sync.WaitGroup
			start := func(client *redis.Client) {
				send := s.open(client)(t, handler)
				wg.Go(func() {
					status, body := send(key, kilobyte)
					running <- struct{}{} // so that the test fails if nothing has run
					assert.Equal(t, http.StatusCreated, status)
					assert.Equal(t, string(kilobyte), string(body))
				})
			}
			first, second := connect(t, server), connect(t, server)

			start(first)
			<-running
			start(second)
			assert.Eventually(t, func() bool { return second.PoolStats().Hits > 0 },
				10*time.Second, 20*time.Millisecond, "the duplicate does not ask Redis")
			close(finish)
			wg.Wait()
			require.EqualValues(t, 1, runs.Load())
		})
	}
}
