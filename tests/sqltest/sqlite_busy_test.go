package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// impatient are settings whose busy timeout is shorter than the waits of an impatient service.
const impatient = "_txlock=immediate&_pragma=busy_timeout(10)&_pragma=synchronous(OFF)"

// newImpatient returns a service that waits for a short time.
func (b *bank) newImpatient(w way, settings string) (*service, *database) {
	db := b.connect(settings)
	s := newService("service", w, db.DB)
	s.store.Wait, s.guard.StoreTimeout = 50*time.Millisecond, 50*time.Millisecond
	return s, db
}

// lock takes the lock, as a transaction of another process would.
func (b *bank) lock(statements ...string) (unlock func()) {
	b.Helper()
	c, err := b.db.Conn(context.Background())
	require.NoError(b, err)
	for _, statement := range statements {
		_, err := c.ExecContext(context.Background(), statement)
		require.NoError(b, err)
	}
	return sync.OnceFunc(func() {
		_, err := c.ExecContext(context.Background(), "ROLLBACK")
		require.NoError(b, err)
		require.NoError(b, c.Close())
	})
}

// retry sends a request until it succeeds. If a claim is left of a request that failed, its lease
// ends.
func (b *bank) retry(s *service, db *database, key string) (r response) {
	b.Helper()
	eventually(b, func() bool {
		r = b.post(s, key)
		if r.status == http.StatusTooManyRequests {
			db.advance(lease)
		}
		return r.status == http.StatusCreated
	}, "a response")
	return r
}

// eachWay calls f for each way whose transaction decides, each with its own bank.
func eachWay(t *testing.T, f func(t *testing.T, b *bank, w way), modes ...string) {
	t.Helper()
	for _, w := range transactional {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			eachSQLite(t, func(t *testing.T, b *bank) { f(t, b, w) }, modes...)
		})
	}
}

// The lock is held for longer than the waits: no handler runs, and the client is told to retry.
func TestLockThatOutlastsTheWaitsIs503(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *bank, w way) {
		for _, settings := range []string{impatient, strings.Replace(impatient, "(10)", "(60000)", 1)} {
			s, db := b.newImpatient(w, settings)
			require.NoError(t, db.PingContext(t.Context()))
			unlock := b.lock("BEGIN IMMEDIATE")
			defer unlock()
			key := idempotent.NewToken().String()
			r := b.post(s, key)
			require.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
			require.NotEmpty(t, r.retryAfter)
			require.Zero(t, s.runs.Load())
			unlock()
			b.retry(s, db, key)
			noOpenTransaction(t, db)
		}
		b.check()
	})
}

// The error of a wait that was too long says so: nobody has canceled it.
func TestWaitOfAnExecutorThatIsOverIsNotACancellation(t *testing.T) {
	t.Parallel()
	eachSQLite(t, func(t *testing.T, b *bank) {
		db := b.connect(strings.Replace(impatient, "(10)", "(60000)", 1))
		require.NoError(t, db.PingContext(t.Context()))
		unlock := b.lock("BEGIN IMMEDIATE")
		defer unlock()
		executor := sqlstore.NewExecutor(db.DB, sqlstore.SQLite, &sqlstore.Options{Wait: 50 * time.Millisecond})
		_, err := executor.Execute(t.Context(), newClaim(), func(context.Context, int) idempotent.Completion {
			panic("the handler runs without the lock")
		})
		require.Error(t, err)
		require.NotErrorIs(t, err, context.Canceled)
	})
}

// The lock is released while a request waits for it.
func TestRequestWaitsForTheLock(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *bank, w way) {
		for _, settings := range []string{impatient, settings} {
			db := b.connect(settings)
			s := newService("service", w, db.DB)
			require.NoError(t, db.PingContext(t.Context()))
			unlock := b.lock("BEGIN IMMEDIATE")
			defer unlock()
			key, got := idempotent.NewToken().String(), make(chan response, 1)
			go func() { got <- b.post(s, key) }()
			eventually(t, func() bool { return db.Stats().InUse > 0 }, "a statement that waits")
			require.Empty(t, got)
			unlock()
			require.Equal(t, response{status: http.StatusCreated, body: "service, run 1, attempt 1"}, receive(t, got))
		}
		b.check()
	})
}

// Many requests share one connection, or a few: each comes to its end. Their handlers read before
// they write.
func TestManyWritersWithASmallPool(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *bank, w way) {
		for _, connections := range []int{1, 3} {
			db := b.connect()
			db.SetMaxOpenConns(connections)
			s := newService("service", w, db.DB)
			s.guard.Wait = patience // for the first of two duplicates
			s.at = func(ctx context.Context, tx sqlstore.DBTX, p point) error {
				if p != beforeWrite {
					return nil
				}
				return tx.QueryRowContext(ctx, "SELECT cents FROM accounts").Scan(new(int))
			}
			var clients sync.WaitGroup
			for i := range 24 {
				clients.Go(func() {
					r := b.post(s, fmt.Sprintf("%d-%d", connections, i/2))
					for ; w == withExecutor && r.status == http.StatusTooManyRequests; r = b.post(s, fmt.Sprintf("%d-%d", connections, i/2)) {
					}
					if r.status != http.StatusCreated {
						t.Errorf("%+v", r)
					}
				})
			}
			clients.Wait()
			require.EqualValues(t, 12, s.runs.Load())
			noOpenTransaction(t, db)
		}
		b.check()
	})
}

// In a transaction that has read first, a write fails if another connection has written since. The
// retry succeeds. The Executor's transaction, and one that begins with the lock, do not fail.
func TestTransactionThatReadsFirst(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *bank, w way) {
		b.db.exec(t, "CREATE TABLE notes (text TEXT)")
		for _, lock := range []string{"deferred", "immediate"} {
			db := b.connect(strings.Replace(impatient, "immediate", lock, 1))
			s := newService("service", w, db.DB)
			written := false
			s.at = func(ctx context.Context, tx sqlstore.DBTX, p point) error {
				if p != beforeWrite || s.runs.Load() > 1 {
					return nil
				}
				err := tx.QueryRowContext(ctx, "SELECT cents FROM accounts").Scan(new(int))
				other := b.connect(impatient)
				_, busy := other.ExecContext(ctx, "INSERT INTO notes VALUES ('written')")
				written = busy == nil
				require.NoError(t, other.Close())
				return err
			}
			key := idempotent.NewToken().String()
			r := b.post(s, key)
			require.Equal(t, w != withExecutor && lock == "deferred", written)
			if written {
				require.GreaterOrEqual(t, r.status, 500)
				require.Zero(t, b.transfers(key))
			} else {
				require.Equal(t, http.StatusCreated, r.status, r.body)
			}
			require.Equal(t, http.StatusCreated, b.post(s, key).status)
			noOpenTransaction(t, db)
		}
		b.check()
	}, wal)
}

// A reader keeps COMMIT from taking effect, for longer than the waits. The client gets an error,
// and after the reader's end, a retry makes the transfer once. With a busy timeout that is longer
// than Wait, the COMMIT may still take effect.
func TestReaderThatHoldsUpCommit(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *bank, w way) {
		for _, timeout := range []int{10, 1_000} {
			s, db := b.newImpatient(w, strings.Replace(impatient, "(10)", fmt.Sprintf("(%d)", timeout), 1))
			if w != withExecutor {
				db.exec(t, "PRAGMA busy_timeout = 10") // of the connection that commits
				db.SetMaxOpenConns(1)
			}
			unlock := func() {}
			s.at = func(_ context.Context, _ sqlstore.DBTX, p point) error {
				if p == afterWrite && s.runs.Load() == 1 {
					unlock = b.lock("BEGIN", "SELECT * FROM accounts")
				}
				return nil
			}
			key := idempotent.NewToken().String()
			var last error
			s.guard.Observe = func(_ context.Context, e idempotent.Event) { last = e.Err }
			var r response
			eventually(t, func() bool { r = b.post(s, key); return s.runs.Load() == 1 }, "a run")
			require.GreaterOrEqual(t, r.status, 500, r.body)
			if w == withExecutor && timeout == 10 {
				require.NotContains(t, last.Error(), "unknown")
			}
			unlock()
			b.retry(s, db, key)
			noOpenTransaction(t, db)
		}
		b.check()
	}, rollback)
}

// The drivers roll back a transaction whose Commit has failed, so its connection goes back to the
// pool without it.
func TestFailedCommitLeavesNoOpenTransaction(t *testing.T) {
	t.Parallel()
	eachSQLite(t, func(t *testing.T, b *bank) {
		db := b.connect(impatient)
		db.SetMaxOpenConns(1)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "UPDATE accounts SET cents = 0")
		require.NoError(t, err)
		unlock := b.lock("BEGIN", "SELECT * FROM accounts")
		defer unlock()
		require.ErrorContains(t, tx.Commit(), "database is locked")
		require.ErrorIs(t, tx.Rollback(), sql.ErrTxDone)
		noOpenTransaction(t, db)
		b.check()
	}, rollback)
}

// The settings that the documentation recommends. Without synchronous(FULL), not all drivers sync
// each commit in WAL mode.
func TestRecommendedSettings(t *testing.T) {
	t.Parallel()
	eachSQLite(t, func(t *testing.T, b *bank) {
		db := b.connect("_txlock=immediate&_pragma=busy_timeout(1000)&_pragma=synchronous(FULL)")
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "1000"} {
			var got string
			require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, want, got, pragma)
		}
	}, wal)
}
