package bloat

import (
	"context"
	"crypto/rand"
	"flag"
	"net/http"
	"slices"
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
	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/pgtest"
)

var (
	keys      = flag.Int("keys", 10_000, "how many keys each way uses")
	retention = flag.Duration("retention", 500*time.Millisecond, "how long a record is kept")
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

const callers = 16

// uses are the ways to use a key once. Nothing else is in the transaction of an Executor.
var uses = []struct {
	name string
	open func(pool *pgxpool.Pool) func(context.Context, idempotent.Claim, idempotent.Completion) error
}{
	{"Executor", func(pool *pgxpool.Pool) func(context.Context, idempotent.Claim, idempotent.Completion) error {
		s := pgstore.NewExecutor(pool, nil)
		return func(ctx context.Context, claim idempotent.Claim, done idempotent.Completion) error {
			_, err := s.Execute(ctx, claim, func(context.Context, int) idempotent.Completion { return done })
			return err
		}
	}},
	{"Store", func(pool *pgxpool.Pool) func(context.Context, idempotent.Claim, idempotent.Completion) error {
		s := pgstore.New(pool, nil)
		return func(ctx context.Context, claim idempotent.Claim, done idempotent.Completion) error {
			if _, err := s.Acquire(ctx, claim); err != nil {
				return err
			}
			return s.Finish(ctx, claim.Owner(), done)
		}
	}},
}

func TestSweepingKeepsUp(t *testing.T) { //nolint:tparallel // they would disturb each other
	t.Parallel()
	for _, u := range uses {
		t.Run(u.name, func(t *testing.T) {
			server := pgtest.Start(t, "autovacuum_naptime = 1s")
			pool := connect(t, server)
			require.NoError(t, pgstore.Migrate(t.Context(), pool, nil))
			sweeper := startSweeper(t, server)
			sizes := startSampling(t, pool)
			use, start := u.open(pool), time.Now()

			var wg sync.WaitGroup
			var used atomic.Int64
			for range callers {
				wg.Go(func() {
					for used.Add(1) <= int64(*keys) {
						if err := use(t.Context(), newClaim(), done()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			took := time.Since(start)
			steady := sizes.stop()
			removed := sweeper.untilEmpty(t, *keys)

			t.Logf("%d keys in %v: %.0f a second", *keys, took.Round(time.Millisecond), float64(*keys)/took.Seconds())
			t.Logf("while keys come and go, each the median (the maximum) of the second half:\n%s", steady)
			t.Logf("when all is swept:\n%s", sizeOf(t.Context(), t, pool))
			sweeper.watched.log(t)
			require.Equal(t, *keys, removed)
			var left int
			require.NoError(t, pool.QueryRow(t.Context(),
				"SELECT (SELECT count(*) FROM idempotency_records) + (SELECT count(*) FROM idempotency_leases)").Scan(&left))
			require.Zero(t, left)
		})
	}
}

// TestSweepingMany sweeps a large table in one call. A transaction that began earlier, such as that
// of a backup, keeps PostgreSQL from forgetting the records that were swept.
func TestSweepingMany(t *testing.T) { //nolint:tparallel // they would disturb each other
	t.Parallel()
	for _, tt := range []struct {
		name   string
		left   string // of the retention
		before string // another connection runs it
		want   int
	}{
		{"over", "0", "SELECT 1", *keys},
		{"alive", "1 day", "SELECT 1", 0},
		{"over, beside an old transaction", "0", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM idempotency_records", *keys},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := pgtest.Start(t)
			pool := connect(t, server)
			require.NoError(t, pgstore.Migrate(t.Context(), pool, nil))
			_, err := pool.Exec(t.Context(), `
				INSERT INTO idempotency_records (id, fingerprint, token, scope, state, attempt, effect, claimed_at, expires_at, response)
				SELECT sha256(n::text::bytea), sha256(n::text::bytea), md5(n::text)::bytea, '', 'done', 1, FALSE, now(),
					now() + $3::text::interval - n * interval '1 millisecond', $2
				FROM generate_series(1, $1::int) AS n`, *keys, done().Response, tt.left)
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), "VACUUM ANALYZE")
			require.NoError(t, err)
			other, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			defer other.Release()
			_, err = other.Exec(t.Context(), tt.before)
			require.NoError(t, err)
			t.Logf("before:\n%s", sizeOf(t.Context(), t, pool))

			watched := new(statements)
			start := time.Now()
			removed, err := pgstore.New(connect(t, server, watched), nil).Sweep(t.Context(), 0)

			require.NoError(t, err)
			require.Equal(t, tt.want, removed)
			t.Logf("swept in %v", time.Since(start).Round(time.Millisecond))
			watched.log(t)
			t.Logf("after:\n%s", sizeOf(t.Context(), t, pool))
		})
	}
}

func connect(tb testing.TB, server *pgtest.Server, tracer ...pgx.QueryTracer) *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(server.URL(""))
	require.NoError(tb, err)
	config.MaxConns = callers + 1 // one is for the samples
	for _, tr := range tracer {
		config.ConnConfig.Tracer = tr
	}
	pool, err := pgxpool.NewWithConfig(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}

func newClaim() idempotent.Claim {
	c := idempotent.Claim{Lease: time.Minute, Retention: *retention}
	for _, b := range [][]byte{c.ID[:], c.Token[:], c.Fingerprint[:]} {
		_, _ = rand.Read(b) // never returns an error
	}
	return c
}

// done is a response of 300 bytes.
func done() idempotent.Completion {
	r := idempotent.Response{Status: http.StatusCreated, Body: []byte(strings.Repeat("x", 300))}
	return r.Completion(*retention)
}

// sweeper sweeps ten times a second.
type sweeper struct {
	store   *pgstore.Store
	watched *statements
	removed int
	end     func() error // stops it and returns its error
}

func startSweeper(tb testing.TB, server *pgtest.Server) *sweeper {
	s := &sweeper{watched: new(statements)}
	s.store = pgstore.New(connect(tb, server, s.watched), nil)
	s.end = every(tb, 100*time.Millisecond, func(ctx context.Context) error {
		n, err := s.store.Sweep(ctx, 0)
		s.removed += n
		return err
	})
	return s
}

// untilEmpty stops the sweeper, and sweeps until a number of records was removed in all, or for a
// minute more than the retention. It returns how many were.
func (s *sweeper) untilEmpty(tb testing.TB, want int) int {
	require.NoError(tb, s.end())
	for deadline := time.Now().Add(*retention + time.Minute); s.removed < want && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		n, err := s.store.Sweep(tb.Context(), 0)
		require.NoError(tb, err)
		s.removed += n
	}
	_, err := s.store.Sweep(tb.Context(), 0) // the leases
	require.NoError(tb, err)
	return s.removed
}

// every calls f in a goroutine until the returned function is called, or f fails.
func every(tb testing.TB, d time.Duration, f func(context.Context) error) (end func() error) {
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				ended <- nil
				return
			case <-ticker.C:
			}
			if err := f(tb.Context()); err != nil {
				ended <- err
				return
			}
		}
	}()
	end = sync.OnceValue(func() error {
		close(stop)
		return <-ended
	})
	tb.Cleanup(func() { _ = end() })
	return end
}

// statements notes how long the transactions of Sweep take. It is for one caller.
type statements struct{ took []time.Duration }

type startKey struct{}

// TraceBatchStart implements [pgx.BatchTracer].
func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return context.WithValue(ctx, startKey{}, time.Now())
}

// TraceBatchEnd implements [pgx.BatchTracer].
func (s *statements) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	s.took = append(s.took, time.Since(ctx.Value(startKey{}).(time.Time)))
}

// The other methods of [pgx.QueryTracer] and [pgx.BatchTracer].
func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData)     {}
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (s *statements) log(tb testing.TB) {
	slices.Sort(s.took)
	at := func(part float64) time.Duration {
		return s.took[int(part*float64(len(s.took)-1))].Round(10 * time.Microsecond)
	}
	tb.Logf("%d transactions of Sweep: median %v, p99 %v, maximum %v", len(s.took), at(0.5), at(0.99), at(1))
}
