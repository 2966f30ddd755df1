package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// The interfaces that a Store has.
var (
	_ idempotent.Store         = (*redisstore.Store)(nil)
	_ idempotent.Waiter        = (*redisstore.Store)(nil)
	_ idempotent.Resolver      = (*redisstore.Store)(nil)
	_ idempotent.UnknownLister = (*redisstore.Store)(nil)
)

func TestStore(t *testing.T) {
	t.Parallel()
	c := client(t, redistest.Start(t).Addr)
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		clock := newMovedClock(c)
		return redisstore.NewRunner(clock, &redisstore.Options{Prefix: newPrefix()}), clock.advance
	})
}

func TestStoreOnACluster(t *testing.T) {
	t.Parallel()
	c := cluster(t, redistest.StartCluster(t, 3, 0))
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		clock := newMovedClock(c)
		return redisstore.NewRunner(clock, &redisstore.Options{Prefix: newPrefix()}), clock.advance
	})
}

// cluster returns a client of a cluster, until the test ends.
func cluster(t testing.TB, servers []*redistest.Server) *redis.ClusterClient {
	t.Helper()
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Without a moved clock, a wrong unit would show.
func TestStoreWithTheRealClock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, protocol := range []int{2, 3} {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: protocol})
		t.Cleanup(func() { _ = rdb.Close() })
		s := redisstore.New(rdb, nil)
		c := newClaim()
		c.Lease = 50 * time.Millisecond
		wantVerdict(t, s, c, idempotent.VerdictAcquired)
		next := rival(c)
		eventually(t, func() bool {
			d, err := s.Acquire(t.Context(), next)
			require.NoError(t, err)
			require.LessOrEqual(t, d.LeaseLeft, c.Lease)
			return d.Verdict == idempotent.VerdictAcquired && d.Attempt == 2
		}, "a takeover")
		require.ErrorIs(t, s.Renew(t.Context(), c.Owner(), lease), idempotent.ErrLost)

		returned := waiting(t.Context(), s, c.ID)
		end := done("response")
		end.Retention = 50 * time.Millisecond
		require.NoError(t, s.Finish(t.Context(), next.Owner(), end))
		require.NoError(t, receive(t, returned))
		eventually(t, func() bool {
			d, err := s.Acquire(t.Context(), rival(c))
			require.NoError(t, err)
			return d.Verdict == idempotent.VerdictAcquired && d.Attempt == 1
		}, "the end of the retention")
	}
}
