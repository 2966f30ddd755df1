package sqltest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// The interfaces that the stores have.
var (
	_ idempotent.Store         = (*sqlstore.Store)(nil)
	_ idempotent.Waiter        = (*sqlstore.Store)(nil)
	_ idempotent.Sweeper       = (*sqlstore.Store)(nil)
	_ idempotent.Resolver      = (*sqlstore.Store)(nil)
	_ idempotent.UnknownLister = (*sqlstore.Store)(nil)

	_ idempotent.Executor      = (*sqlstore.Executor)(nil)
	_ idempotent.Store         = (*sqlstore.Executor)(nil)
	_ idempotent.Sweeper       = (*sqlstore.Executor)(nil)
	_ idempotent.Resolver      = (*sqlstore.Executor)(nil)
	_ idempotent.UnknownLister = (*sqlstore.Executor)(nil)
)

func TestStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		idempotenttest.Run(t, func(t *testing.T) (idempotent.Store, func(time.Duration)) {
			db := open(t)
			return sqlstore.New(db.DB, db.dialect, nil), db.advance
		})
	}, "pgx", "pq", "modernc", "ncruces")
}

func TestExecutor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		idempotenttest.RunExecutor(t, func(t *testing.T) idempotenttest.ExecutorFixture {
			db := open(t)
			return executorFixture(t, db, sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Wait: 2 * time.Second}))
		})
	})
}

// executorFixture returns what the suite needs. Effects are rows of a table.
func executorFixture(t *testing.T, db *database, s *sqlstore.Executor) idempotenttest.ExecutorFixture {
	db.exec(t, "CREATE TABLE effects (id text PRIMARY KEY, missing text REFERENCES effects DEFERRABLE INITIALLY DEFERRED)")
	conflicts, missing := false, false
	f := idempotenttest.ExecutorFixture{
		Executor: s,
		Effect: func(ctx context.Context) error {
			tx := sqlstore.Tx(ctx)
			if conflicts {
				conflicts = false
				_, err := tx.ExecContext(ctx, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END $$")
				return err
			}
			statement := "INSERT INTO effects (id) VALUES ($1)"
			if missing {
				missing = false
				statement = "INSERT INTO effects (id, missing) VALUES ($1, 'missing')"
			}
			_, err := tx.ExecContext(ctx, statement, idempotent.NewToken().String())
			return err
		},
		Effects:        func() int { return db.count(t, "effects") },
		OneWriter:      db.dialect == sqlstore.SQLite,
		Advance:        db.advance,
		Transactions:   func() int { return int(db.connector.transactions.Load()) },
		Exhaust:        func() (release func()) { return exhaust(t, db) },
		ConflictCommit: func() { db.connector.onCommit(conflictCommit) },
		RefuseCommit:   func() { missing = true },
		LoseReply:      func() { db.connector.onCommit(loseReply) },
		LoseCommit:     func() { db.connector.onCommit(loseCommit) },
		DelayCommit: func() {
			db.connector.uncanceled.Store(true)
			db.connector.onCommit(delayCommit)
		},
	}
	if db.dialect == sqlstore.PostgreSQL {
		f.ConflictStatement = func() { conflicts = true }
		f.FailStatement = func(ctx context.Context) error { return fail(ctx, sqlstore.Tx(ctx)) }
		f.FailAndRecover = func(ctx context.Context) error {
			return sqlstore.InTx(ctx, db.DB, func(tx sqlstore.DBTX) error { return fail(ctx, tx) })
		}
	}
	return f
}

func fail(ctx context.Context, tx sqlstore.DBTX) error {
	_, err := tx.ExecContext(ctx, "SELECT 1/0")
	return err
}

// exhaust takes all connections.
func exhaust(t testing.TB, db *database) (release func()) {
	var closers []func() error
	for range db.Stats().MaxOpenConnections {
		c, err := db.Conn(context.Background())
		require.NoError(t, err)
		closers = append(closers, c.Close)
	}
	return func() {
		for _, c := range closers {
			_ = c()
		}
	}
}

// An Executor is also a Store, with the same operations. So here are the other ways to send
// statements.
func TestExecutorAsStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		idempotenttest.Run(t, func(t *testing.T) (idempotent.Store, func(time.Duration)) {
			db := open(t)
			return sqlstore.NewExecutor(db.DB, db.dialect, nil), db.advance
		})
	}, "pgx simple protocol", "pq binary parameters")
}
