package redislimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

func connectRing(t *testing.T, shards int) *redis.Ring {
	t.Helper()
	addrs := make(map[string]string, shards)
	for i := range shards {
		addrs[fmt.Sprint(i)] = redistest.Start(t).Addr
	}
	client := redis.NewRing(&redis.RingOptions{Addrs: addrs})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// strangers returns two keys that have the same hash slot on a Cluster, but different shards of a
// Ring, which knows no hash slots.
func strangers(t *testing.T, client *redis.Ring, l *redislimit.Limiter) (a, b string) {
	t.Helper()
	seen := make(map[uint16]string)
	for i := 0; ; i++ {
		b = fmt.Sprint(i)
		k := l.RedisKey("default", b)
		a, ok := seen[redislimit.SlotOf(k)]
		if !ok {
			seen[redislimit.SlotOf(k)] = b
			continue
		}
		one, err := client.GetShardClientForKey(k)
		require.NoError(t, err)
		other, err := client.GetShardClientForKey(l.RedisKey("default", a))
		require.NoError(t, err)
		if one != other {
			return a, b
		}
	}
}

func TestRingHasEachBucketOnce(t *testing.T) {
	t.Parallel()
	client := connectRing(t, 2)
	l := redislimit.New(client, &redislimit.Options{Timeout: patient})
	a, b := strangers(t, client, l)
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			d, err := l.Take(t.Context(), perHour([]string{a, b}[i%2], 20))
			if err != nil {
				t.Error(err)
			}
			if d.Allowed {
				admitted.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 40, admitted.Load())

	into := make([]ratelimit.Decision, 2)
	group := []ratelimit.Charge{perHour(a, 20), perHour(b, 20)}
	require.ErrorContains(t, l.TakeAll(t.Context(), group, into), "HashTag")
	tagged := redislimit.New(client, &redislimit.Options{Timeout: patient, HashTag: "limits"})
	require.NoError(t, tagged.TakeAll(t.Context(), group, into))
	require.Equal(t, 19, into[1].Remaining)
}
