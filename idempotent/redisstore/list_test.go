package redisstore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// unknownRecord makes an unknown record and returns its ID.
func unknownRecord(t testing.TB, s *redisstore.Store) idempotent.ID {
	t.Helper()
	c := begun(t, s)
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))
	require.NoError(t, s.Finish(t.Context(), c.Owner(), unknown))
	return c.ID
}

func TestListUnknownKeepsToItsPrefix(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, server.Addr)
	want := make(map[string]idempotent.ID)
	stores := make(map[string]*redisstore.Store)
	for _, prefix := range []string{"a:", "a:b:", "*", "?:", "[ab]:", `\a:`, "a*:", "{a}:", "ä:\n"} {
		stores[prefix] = redisstore.New(c, &redisstore.Options{Prefix: prefix})
		want[prefix] = unknownRecord(t, stores[prefix])
	}
	do(t, server, "SET", "a:"+newClaim().ID.String(), "a string")
	do(t, server, "HSET", "a:settings", "name", "value")
	for prefix, s := range stores {
		list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
		require.NoError(t, err)
		require.Len(t, list, 1, prefix)
		require.Equal(t, want[prefix], list[0].ID, prefix)
	}

	damaged := newClaim().ID
	do(t, server, "HSET", "a:"+damaged.String(), "v", "2")
	_, err := stores["a:"].ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.ErrorContains(t, err, damaged.String())
}

func TestListUnknownOnARing(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": redistest.Start(t).Addr, "b": redistest.Start(t).Addr}})
	t.Cleanup(func() { _ = ring.Close() })
	s := redisstore.New(ring, nil)
	want := make(map[idempotent.ID]bool)
	for range 20 {
		want[unknownRecord(t, s)] = true
	}
	list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, len(want))
	for _, u := range list {
		require.True(t, want[u.ID])
	}
	c := begun(t, s) // its PubSub would listen to one server
	returned := waiting(t.Context(), s, c.ID)
	require.NoError(t, s.Finish(t.Context(), c.Owner(), released))
	require.NoError(t, receive(t, returned))
}

func TestListUnknownNeedsAScanner(t *testing.T) {
	t.Parallel()
	c := client(t, redistest.Start(t).Addr)
	runner := redisstore.NewGoRedisRunner(c)
	// A UniversalClient that hides whether it is a Cluster could list one server only.
	hidden := redisstore.NewGoRedisRunner(struct{ redis.UniversalClient }{c})
	for _, r := range []redisstore.Runner{struct{ redisstore.Runner }{runner}, hidden} {
		_, err := redisstore.NewRunner(r, nil).ListUnknown(t.Context(), idempotent.ID{}, 0)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// A cursor of SCAN means nothing to a server that has restarted: it would skip records.
func TestListUnknownNoticesARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes")
	c := client(t, server.Addr)
	r := &pagedScanner{fullRunner: redisstore.NewGoRedisRunner(c).(fullRunner)}
	s := redisstore.NewRunner(r, nil)
	pipe := c.Pipeline()
	for range 20_000 { // a page has about 1000 keys
		pipe.HSet(t.Context(), newClaim().ID.String(), "a", "b")
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	for range 10 {
		unknownRecord(t, s)
	}
	r.between = func() {
		server.Stop()
		if err := server.Run(); err != nil {
			t.Error(err)
		}
	}
	_, err = s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.Error(t, err)
	list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, 10)
}

// pagedScanner calls a function once, at a page without records.
type pagedScanner struct {
	fullRunner
	between func()
}

func (p *pagedScanner) Scan(ctx context.Context, pattern string, each func(keys []string) error) error {
	pages := 0
	return p.fullRunner.Scan(ctx, pattern, func(keys []string) error {
		if pages++; pages > 5 && len(keys) == 0 && p.between != nil {
			p.between()
			p.between = nil
		}
		return each(keys)
	})
}
