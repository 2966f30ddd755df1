package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

const patience = 20 * time.Second

func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "not reached: "+what)
		}
	}
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

// Without a moved clock, a wrong unit or time zone would show.
func TestStoreWithTheRealClock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := sql.OpenDB(open(t).connector.Connector)
		defer db.Close()
		s := sqlstore.New(db, dialectOf(t), nil)
		c := newClaim()
		c.Lease = 50 * time.Millisecond
		d, err := s.Acquire(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
		next := rival(c)
		eventually(t, func() bool {
			d, err := s.Acquire(t.Context(), next)
			require.NoError(t, err)
			require.LessOrEqual(t, d.LeaseLeft, c.Lease)
			return d.Verdict == idempotent.VerdictAcquired && d.Attempt == 2
		}, "a takeover")
		require.ErrorIs(t, s.Renew(t.Context(), c.Owner(), time.Minute), idempotent.ErrLost)

		end := answer(201)
		end.Retention = 50 * time.Millisecond
		require.NoError(t, s.Finish(t.Context(), next.Owner(), end))
		eventually(t, func() bool {
			d, err := s.Acquire(t.Context(), rival(c))
			require.NoError(t, err)
			return d.Verdict == idempotent.VerdictAcquired && d.Attempt == 1
		}, "the end of the retention")
	})
}

// dialectOf returns the dialect of the backend of a subtest.
func dialectOf(t testing.TB) sqlstore.Dialect {
	for _, b := range backends {
		if strings.HasSuffix(t.Name(), "/"+strings.ReplaceAll(b.name, " ", "_")) {
			return b.dialect
		}
	}
	panic("no backend: " + t.Name())
}

func TestMigrateByManyProcesses(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		o := &sqlstore.Options{Prefix: "other_"}
		var wg sync.WaitGroup
		for range 8 {
			process := sql.OpenDB(db.connector)
			defer process.Close()
			wg.Go(func() {
				if err := sqlstore.Migrate(t.Context(), process, db.dialect, o); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		c := begun(t, sqlstore.New(db.DB, db.dialect, o))
		require.NoError(t, sqlstore.Migrate(t.Context(), db.DB, db.dialect, o))
		require.Equal(t, 1, db.count(t, "other_records"))
		require.NoError(t, sqlstore.New(db.DB, db.dialect, o).Finish(t.Context(), c.Owner(), answer(201)))
		require.Zero(t, db.count(t, "other_leases"))
		require.Zero(t, db.count(t, "idempotency_records"))
	})
}

// Schema is for tools that run several statements together.
func TestSchemaCanBeRunTwice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		for range 2 {
			db.exec(t, sqlstore.Schema(db.dialect, &sqlstore.Options{Prefix: "tool_"}))
		}
		begun(t, sqlstore.New(db.DB, db.dialect, &sqlstore.Options{Prefix: "tool_"}))
	}, "pgx", "pq", "modernc", "ncruces")
}

func TestWaitForManyRecords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		s := sqlstore.New(db.DB, db.dialect, nil)
		const records = 230 // more than one statement names
		woken := make(chan error, records)
		var claims []idempotent.Claim
		for range records {
			c := begun(t, s)
			claims = append(claims, c)
			go func() { woken <- s.Wait(t.Context(), c.ID) }()
		}
		eventually(t, func() bool { return db.connector.looks.Load() >= 9 }, "three looks at all records")
		require.Empty(t, woken)
		for _, c := range claims {
			require.NoError(t, s.Finish(t.Context(), c.Owner(), answer(201)))
		}
		for range records {
			require.NoError(t, <-woken)
		}
	}, "pgx", "modernc")
}

func TestFullDatabase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		s, x := sqlstore.New(db.DB, db.dialect, nil), sqlstore.NewExecutor(db.DB, db.dialect, nil)
		if db.dialect == sqlstore.SQLite {
			db.SetMaxOpenConns(1)
			db.exec(t, "PRAGMA max_page_count = 10")
		} else {
			db.connector.onCommit(func(inner commitTx) error {
				_ = inner.Tx.Rollback()
				return diskFull{}
			})
		}
		large := idempotent.Response{Status: 201, Body: make([]byte, 1<<20)}.Completion(time.Hour)
		c := newClaim()
		_, err := execute(t, x, c, func(context.Context) idempotent.Completion { return large })
		require.ErrorIs(t, err, idempotent.ErrFull)
		wantVerdictOf(t, s, c, idempotent.VerdictAcquired)
	})
}

func wantVerdictOf(t testing.TB, s idempotent.Store, c idempotent.Claim, want idempotent.Verdict) {
	t.Helper()
	d, err := s.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, d.Verdict)
}

type diskFull struct{}

func (diskFull) Error() string    { return "could not extend file" }
func (diskFull) SQLState() string { return "53100" }

// A transaction of one process and the steps of a store in another do not disturb each other,
// whatever the default of the database is.
func TestStepsAreReadCommitted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		other := sql.OpenDB(&serializable{db.connector})
		defer other.Close()
		s := sqlstore.New(other, db.dialect, nil)
		c := begun(t, s)
		require.NoError(t, s.Renew(t.Context(), c.Owner(), time.Minute))

		business, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable})
		require.NoError(t, err)
		defer business.Rollback()
		var n int
		require.NoError(t, business.QueryRowContext(t.Context(), "SELECT count(*) FROM idempotency_leases").Scan(&n))
		require.NoError(t, s.Renew(t.Context(), c.Owner(), time.Minute))
		_, err = business.ExecContext(t.Context(), "UPDATE idempotency_records SET effect = TRUE")
		require.NoError(t, err)
		require.NoError(t, business.Commit())
		require.NoError(t, s.Finish(t.Context(), c.Owner(), answer(201)))
	}, "pgx", "pq")
}

// serializable makes transactions SERIALIZABLE by default.
type serializable struct{ driver.Connector }

func (s *serializable) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := s.Connector.Connect(ctx)
	if err == nil {
		_, err = c.(driver.ExecerContext).ExecContext(ctx, "SET default_transaction_isolation = 'serializable'", nil)
	}
	return c, err
}

func TestStoreAndExecutorShareTheirRecords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		s, x := sqlstore.New(db.DB, db.dialect, nil), sqlstore.NewExecutor(db.DB, db.dialect, nil)
		c := begun(t, s)
		wantVerdict(t, x, rival(c), idempotent.VerdictRunning)
		require.NoError(t, s.Finish(t.Context(), c.Owner(), answer(201)))
		wantVerdict(t, x, rival(c), idempotent.VerdictDone)

		c = newClaim()
		_, err := execute(t, x, c, func(context.Context) idempotent.Completion { return answer(201) })
		require.NoError(t, err)
		wantVerdictOf(t, s, rival(c), idempotent.VerdictDone)
	})
}

// A Store whose lease is over cannot renew it while an Executor takes the record over, and is told
// the truth afterward.
func TestRenewWaitsForAnExecutorThatTakesOver(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		s := sqlstore.New(db.DB, db.dialect, nil)
		c := begun(t, s)
		db.advance(2 * c.Lease)
		renewed := make(chan error, 1)
		d, err := execute(t, sqlstore.NewExecutor(db.DB, db.dialect, nil), rival(c), func(ctx context.Context) idempotent.Completion {
			go func() { renewed <- s.Renew(t.Context(), c.Owner(), c.Lease) }()
			eventually(t, func() (waits bool) {
				require.NoError(t, sqlstore.Tx(ctx).QueryRowContext(ctx, `SELECT EXISTS (
					SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))`).Scan(&waits))
				return waits
			}, "Renew waits")
			return answer(201)
		})
		require.NoError(t, err)
		require.Equal(t, 2, d.Attempt)
		require.ErrorIs(t, <-renewed, idempotent.ErrLost)
	}, "pgx", "pq")
}
