package pgstore_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// traffic counts statements by their first word, and the batches that contain one.
type traffic struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *traffic) count(sql string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	word, _, _ := strings.Cut(sql, " ")
	c.counts[strings.ToLower(word)]++
}

func (c *traffic) of(word string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[word]
}

func (c *traffic) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	c.count(data.SQL)
	return ctx
}

func (c *traffic) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *traffic) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	c.count("batch")
	for _, q := range data.Batch.QueuedQueries {
		c.count(q.SQL)
	}
	return ctx
}

func (c *traffic) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (c *traffic) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// anotherProcess returns a pool with the schema of pool, as another process would have.
func anotherProcess(t *testing.T, pool *pgxpool.Pool, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	for _, f := range change {
		f(config)
	}
	other, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(other.Close)
	return other
}

// begun returns the claim of a new record.
func begun(t testing.TB, s idempotent.Store) idempotent.Claim {
	t.Helper()
	c := newClaim()
	d, err := s.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
	return c
}

// waiting calls Wait in a goroutine. Its result comes on the channel.
func waiting(ctx context.Context, s *pgstore.Store, id idempotent.ID) <-chan error {
	returned := make(chan error, 1)
	go func() { returned <- s.Wait(ctx, id) }()
	return returned
}

// listeners returns the number of connections that listen.
func listeners(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	n, err := server.SQL("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
	require.NoError(t, err)
	return n
}

// The duplicate never polls here, so only a notification can wake it.
func TestWaitIsWokenByAnotherProcess(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for _, mode := range modes {
		pool, _ := newPool(t, inMode(server, mode))
		owner := pgstore.New(pool, nil)
		duplicate := pgstore.New(anotherProcess(t, pool), nil)
		duplicate.LookEvery(time.Hour)
		for name, end := range map[string]func(c idempotent.Claim) error{
			"Finish": func(c idempotent.Claim) error { return owner.Finish(t.Context(), c.Owner(), done("response")) },
			"release": func(c idempotent.Claim) error {
				return owner.Finish(t.Context(), c.Owner(), idempotent.Completion{State: idempotent.StateAbsent})
			},
		} {
			c := begun(t, owner)
			returned := waiting(t.Context(), duplicate, c.ID)
			eventually(t, func() bool {
				return scalar[bool](t, pool, "SELECT waited FROM idempotency_leases WHERE id = $1", c.ID[:])
			}, "a lease that is waited for")
			require.NoError(t, end(c), name)
			require.NoError(t, receive(t, returned), name)
		}
	}
}

// The end of a run is notified with any valid prefix, and over a connection that the hook of the
// pool has changed.
func TestWaitIsWokenWithAnyPrefixAndPool(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, tt := range []struct {
		name, prefix string
		change       func(*pgxpool.Config)
	}{
		{"long prefix", strings.Repeat("s", 63) + "." + strings.Repeat("p", 40), func(*pgxpool.Config) {}},
		{"hook of the pool", "", func(c *pgxpool.Config) {
			user := c.ConnConfig.User
			c.ConnConfig.User = "nobody"
			c.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
				c.User = user
				return nil
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool, _ := newPool(t, server.URL(""))
			o := &pgstore.Options{Prefix: tt.prefix}
			if schema, _, ok := strings.Cut(tt.prefix, "."); ok {
				_, err := pool.Exec(t.Context(), "CREATE SCHEMA "+schema)
				require.NoError(t, err)
				require.NoError(t, pgstore.Migrate(t.Context(), pool, o))
			}
			owner, duplicate := pgstore.New(pool, o), pgstore.New(anotherProcess(t, pool, tt.change), o)
			duplicate.LookEvery(time.Hour)
			c := begun(t, owner)
			returned := waiting(t.Context(), duplicate, c.ID)
			eventually(t, func() bool {
				return scalar[bool](t, pool, "SELECT waited FROM "+cmp.Or(tt.prefix, "idempotency_")+"leases WHERE id = $1", c.ID[:])
			}, "a lease that is waited for")
			require.NoError(t, owner.Finish(t.Context(), c.Owner(), done("response")))
			require.NoError(t, receive(t, returned))
		})
	}
}

func scalar[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&v))
	return v
}

func TestEndIsOnlyNotifiedIfSomeoneWaits(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	pool, _ := newPool(t, server.URL(""))
	s := pgstore.New(pool, nil)
	listener, err := pgx.Connect(t.Context(), server.URL(""))
	require.NoError(t, err)
	defer listener.Close(t.Context())
	_, err = listener.Exec(t.Context(), "LISTEN idempotency_ended")
	require.NoError(t, err)

	alone, awaited := begun(t, s), begun(t, s)
	returned := waiting(t.Context(), s, awaited.ID)
	eventually(t, func() bool {
		return scalar[bool](t, pool, "SELECT waited FROM idempotency_leases WHERE id = $1", awaited.ID[:])
	}, "a lease that is waited for")
	require.NoError(t, s.Finish(t.Context(), alone.Owner(), done("response")))
	require.NoError(t, s.Finish(t.Context(), awaited.Owner(), done("response")))
	require.NoError(t, receive(t, returned))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := listener.WaitForNotification(ctx)
	require.NoError(t, err)
	require.Equal(t, awaited.ID.String(), n.Payload, "the first notification")
}

func TestTenThousandWaitersShareOneConnection(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	var sent traffic
	pool, _ := newPool(t, server.URL(""), func(c *pgxpool.Config) {
		c.MaxConns = 2
		c.ConnConfig.Tracer = &sent
	})
	s := pgstore.New(pool, nil)
	s.LookEvery(100 * time.Millisecond)
	c := begun(t, s)
	before := sent.of("batch")
	const waiters = 10_000
	var returned atomic.Int64
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			if s.Wait(t.Context(), c.ID) == nil {
				returned.Add(1)
			}
		})
	}
	eventually(t, func() bool { return sent.of("listen") == 1 && sent.of("batch") >= before+3 }, "looks")
	require.Equal(t, "1", listeners(t, server))
	require.LessOrEqual(t, pool.Stat().TotalConns(), int32(2))
	require.Zero(t, returned.Load())

	require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
	wg.Wait()
	require.EqualValues(t, waiters, returned.Load())
	require.Equal(t, 1, sent.of("listen"))
	require.Less(t, sent.of("batch")-before, 100, "looks at the record")
	eventually(t, func() bool { return listeners(t, server) == "0" }, "the end of the connection for LISTEN")
}

func TestWaitPollsWithoutListen(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	pool, _ := newPool(t, server.URL(""))
	fails := func(context.Context) (*pgx.Conn, error) { return nil, errors.New("no direct connection") }
	var log logbuf.Buffer
	for name, o := range map[string]*pgstore.Options{
		"NoListen":          {NoListen: true},
		"Listen that fails": {Listen: fails, Logger: slog.New(slog.NewJSONHandler(&log, nil))},
	} {
		s := pgstore.New(pool, o)
		c := begun(t, s)
		returned := waiting(t.Context(), s, c.ID)
		if o.Listen != nil {
			eventually(t, func() bool { return strings.Contains(log.String(), "no direct connection") }, "a warning")
		}
		require.NoError(t, pgstore.New(pool, nil).Finish(t.Context(), c.Owner(), done("response")), name)
		require.NoError(t, receive(t, returned), name)
		require.Equal(t, "0", listeners(t, server), name)
	}
}

func TestWaitGoesOnAfterTheServerHasRestarted(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	pool, _ := newPool(t, server.URL(""))
	s := pgstore.New(pool, nil)
	c := begun(t, s)
	returned := waiting(t.Context(), s, c.ID)
	eventually(t, func() bool { return listeners(t, server) == "1" }, "LISTEN")
	server.StopImmediately()
	require.Error(t, receive(t, returned)) // the caller asks the store again
	require.NoError(t, server.Run())

	returned = waiting(t.Context(), s, c.ID)
	eventually(t, func() bool { return listeners(t, server) == "1" }, "LISTEN")
	require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
	require.NoError(t, receive(t, returned))
}
