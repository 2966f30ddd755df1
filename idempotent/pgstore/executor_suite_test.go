package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

func TestExecutor(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "max_connections = 500")
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			idempotenttest.RunExecutor(t, func(t *testing.T) idempotenttest.ExecutorFixture {
				return executorFixture(t, inMode(server, mode))
			})
		})
	}
}

func executorFixture(t *testing.T, url string, change ...func(*pgxpool.Config)) idempotenttest.ExecutorFixture {
	change = append(change, func(c *pgxpool.Config) { c.MaxConns = 20 })
	pool, advance := newPool(t, url, change...)
	_, err := pool.Exec(t.Context(), "CREATE TABLE effects (id bigserial PRIMARY KEY)")
	require.NoError(t, err)
	insert := func(ctx context.Context) error {
		_, err := pgstore.Tx(ctx).Exec(ctx, "INSERT INTO effects DEFAULT VALUES")
		return err
	}
	fail := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT 1/0")
		return err
	}
	return idempotenttest.ExecutorFixture{
		Executor: pgstore.NewExecutor(pool, &pgstore.Options{Wait: 2 * time.Second}),
		Effect:   insert,
		Effects: func() (n int) {
			require.NoError(t, pool.QueryRow(context.Background(), "SELECT count(*) FROM effects").Scan(&n))
			return n
		},
		Advance: advance,
		Exhaust: func() (release func()) {
			var conns []*pgxpool.Conn
			for range pool.Config().MaxConns {
				c, err := pool.Acquire(context.Background())
				require.NoError(t, err)
				conns = append(conns, c)
			}
			return func() {
				for _, c := range conns {
					c.Release()
				}
			}
		},
		FailStatement: func(ctx context.Context) error { return fail(ctx, pgstore.Tx(ctx)) },
		FailAndRecover: func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pgstore.Tx(ctx), func(tx pgx.Tx) error { return fail(ctx, tx) })
		},
	}
}
