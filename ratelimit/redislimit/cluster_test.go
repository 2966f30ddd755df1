package redislimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

func connectCluster(t *testing.T, servers []*redistest.Server) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr}})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestSlotOf(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]uint16{ // by CLUSTER KEYSLOT
		"":              0,
		"123456789":     12739,
		"foo":           12182,
		"{foo}bar":      12182,
		"foo{}{bar}":    8363,
		"foo{{bar}}zap": 4015,
	} {
		require.Equal(t, want, redislimit.SlotOf(key), "%q", key)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	client := connectCluster(t, servers)
	for _, s := range servers {
		for _, key := range []string{"", "foo", "foo{}{bar}", "foo{{bar}}zap", "foo{bar", "ratelimit:{x}:a:b"} {
			require.Equal(t, fmt.Sprint(redislimit.SlotOf(key)), do(t, s, "CLUSTER", "KEYSLOT", key))
		}
	}
	l := redislimit.New(client, &redislimit.Options{Timeout: patient})

	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 16 { // of 20 keys, which all masters share
		for i := range 20 {
			wg.Go(func() {
				d, err := l.Take(t.Context(), perHour(fmt.Sprint(i), 10))
				if err != nil {
					t.Error(err)
				}
				if d.Allowed {
					admitted.Add(1)
				}
			})
		}
	}
	wg.Wait()
	require.EqualValues(t, 200, admitted.Load())
	for _, s := range servers {
		require.NotEqual(t, "0", do(t, s, "DBSIZE"))
	}

	// Rules with one key have one slot. Rules with different keys need a HashTag.
	one := []ratelimit.Charge{perHour("a", 10), {Rule: "other", Key: "a", Limit: ratelimit.PerHour(5), Cost: 1}}
	into := make([]ratelimit.Decision, 2)
	require.NoError(t, l.TakeAll(t.Context(), one, into))
	require.Equal(t, 9, into[0].Remaining)
	several := []ratelimit.Charge{perHour("b", 10), {Rule: "other", Key: "c", Limit: ratelimit.PerHour(5), Cost: 1}}
	require.ErrorContains(t, l.TakeAll(t.Context(), several, into), "HashTag")
	tagged := redislimit.New(client, &redislimit.Options{Timeout: patient, HashTag: "limits", Prefix: "tagged:"})
	require.NoError(t, tagged.TakeAll(t.Context(), several, into))
	require.Equal(t, 9, into[0].Remaining)
	require.Equal(t, 4, into[1].Remaining)

	// The calls for one slot are shared.
	owner := redistest.Owner(t, servers, l.RedisKey("default", "hot"))
	before := calls(t, owner, "evalsha")
	for range 64 {
		wg.Go(func() {
			for range 20 {
				if _, err := l.Take(t.Context(), perHour("hot", 1e6)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Less(t, calls(t, owner, "evalsha")-before, 64*20/2)
}

// The loss of a master affects the keys of its slots. The breakers of the others stay closed.
func TestClusterWithoutOneOfItsMasters(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0, "cluster-require-full-coverage no")
	l := redislimit.New(connectCluster(t, servers), &redislimit.Options{Timeout: time.Second})
	keys := make(map[*redistest.Server][]string)
	for i := range 60 {
		key := fmt.Sprint(i)
		owner := redistest.Owner(t, servers, l.RedisKey("default", key))
		keys[owner] = append(keys[owner], key)
		take(t, l, perHour(key, 1e6))
	}
	servers[0].Kill()
	for _, key := range keys[servers[0]][:3] {
		_, err := l.Take(t.Context(), perHour(key, 1e6))
		require.Error(t, err)
	}
	for _, s := range servers[1:] {
		for _, key := range keys[s] {
			take(t, l, perHour(key, 1e6))
		}
	}
	require.NoError(t, servers[0].Run())
	require.Eventually(t, func() bool {
		_, err := l.Take(t.Context(), perHour(keys[servers[0]][0], 1e6))
		return err == nil
	}, patient, 20*time.Millisecond)
}

func TestClusterFailsOver(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 1)
	l := redislimit.New(connectCluster(t, servers), &redislimit.Options{Timeout: time.Second})
	key := ""
	for i := 0; redistest.Owner(t, servers, l.RedisKey("default", key)) != servers[0]; i++ {
		key = fmt.Sprint(i)
	}
	take(t, l, perHour(key, 10))
	require.Eventually(t, func() bool { return do(t, servers[0], "WAIT", "1", "1000") == "1" }, patient, 10*time.Millisecond)
	servers[0].Kill()
	var d ratelimit.Decision
	require.Eventually(t, func() bool {
		var err error
		d, err = l.Take(t.Context(), perHour(key, 10))
		return err == nil
	}, patient, 50*time.Millisecond)
	require.LessOrEqual(t, d.Remaining, 8, "the charge before the failover was replicated")
}
