package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// doomed are statements after which SQLite rolls back the whole transaction by itself.
var doomed = []struct {
	name, statement string
	interrupted     bool
	perhaps         bool // or only the statement is rolled back, or has not begun
}{
	{name: "RAISE(ROLLBACK)", statement: "INSERT INTO refusing VALUES (1)"},
	{name: "OR ROLLBACK", statement: "INSERT OR ROLLBACK INTO accounts VALUES (1, 0)"},
	{name: "SQLITE_FULL", statement: "INSERT INTO blobs VALUES (zeroblob(1000000))", perhaps: true},
	{
		name: "SQLITE_INTERRUPT", interrupted: true, perhaps: true,
		statement: "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i FROM n) INSERT INTO blobs SELECT i FROM n WHERE i > 1",
	},
}

// senses are the ways in which a handler runs a statement. The Executor does not see all errors.
var senses = map[string]func(ctx context.Context, tx sqlstore.DBTX, statement string) error{
	"Exec": func(ctx context.Context, tx sqlstore.DBTX, statement string) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	},
	"Query": func(ctx context.Context, tx sqlstore.DBTX, statement string) error {
		rows, err := tx.QueryContext(ctx, statement+" RETURNING 1")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	},
	"Prepare": func(ctx context.Context, tx sqlstore.DBTX, statement string) error {
		stmt, err := tx.PrepareContext(ctx, statement)
		if err != nil {
			return err
		}
		defer stmt.Close()
		_, err = stmt.ExecContext(ctx)
		return err
	},
}

// doom makes the tables for the statements.
func (b *bank) doom() *database {
	b.db.exec(b, "CREATE TABLE refusing (id INTEGER)")
	b.db.exec(b, "CREATE TABLE blobs (data BLOB)")
	b.db.exec(b, "CREATE TRIGGER refuse BEFORE INSERT ON refusing BEGIN SELECT RAISE(ROLLBACK, 'refused'); END")
	return b.connect(settings + "&_pragma=max_page_count(60)")
}

// A handler ignores that SQLite has rolled back its transaction, and goes on. What it does
// afterward is not committed by itself, and its client gets an error.
func TestHandlerThatIgnoresARollbackHasNoEffect(t *testing.T) {
	t.Parallel()
	eachSQLite(t, func(t *testing.T, b *bank) {
		db := b.doom()
		for _, d := range doomed {
			for sense, do := range senses {
				for _, w := range transactional {
					for _, nested := range []bool{false, true} {
						if nested && w != withExecutor {
							continue
						}
						t.Run(fmt.Sprintf("%s, %s, %s, in InTx %t", d.name, sense, w, nested), func(t *testing.T) {
							s := newService("service", w, db.DB)
							at := betweenRows
							if w != withExecutor {
								at = afterWrite // the handler's own transaction is not guarded before FinishTx
							}
							s.at = func(ctx context.Context, tx sqlstore.DBTX, p point) error {
								if p != at || s.runs.Load() > 1 {
									return nil
								}
								if d.interrupted {
									var cancel context.CancelFunc
									ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
									defer cancel()
								}
								run := func(tx sqlstore.DBTX) error { return do(ctx, tx, d.statement) }
								err := run
								if nested {
									err = func(sqlstore.DBTX) error { return sqlstore.InTx(ctx, db.DB, run) }
								}
								require.Error(t, err(tx))
								return nil
							}
							key := idempotent.NewToken().String()
							r := b.post(s, key)
							b.check()
							if d.perhaps && r.status == http.StatusCreated {
								return // with its effect
							}
							require.GreaterOrEqual(t, r.status, 500, r.body)
							require.Zero(t, b.transfers(key))
							require.Equal(t, response{status: http.StatusCreated, body: "service, run 2, attempt 1"}, b.post(s, key))
							b.check()
							noOpenTransaction(t, db)
						})
					}
				}
			}
		}
	})
}

// noOpenTransaction checks that the idle connections of a pool have no transaction.
func noOpenTransaction(t *testing.T, db *database) {
	t.Helper()
	var taken []*sql.Conn
	for range db.Stats().Idle {
		c, err := db.Conn(context.Background())
		require.NoError(t, err)
		taken = append(taken, c)
	}
	for _, c := range taken {
		for _, statement := range []string{"BEGIN", "ROLLBACK"} {
			_, err := c.ExecContext(context.Background(), statement)
			require.NoError(t, err)
		}
		require.NoError(t, c.Close())
	}
}

// A full file is reported as such, and the service goes on after there is room.
func TestFullFileIsErrFull(t *testing.T) {
	t.Parallel()
	eachSQLite(t, func(t *testing.T, b *bank) {
		for _, w := range transactional {
			t.Run(string(w), func(t *testing.T) {
				db := b.connect()
				db.SetMaxOpenConns(1) // whose bound of pages is moved
				s := newService("service", w, db.DB)
				var events []idempotent.Event
				s.guard.Observe = func(_ context.Context, e idempotent.Event) { events = append(events, e) }
				var (
					key   string
					pages int
				)
				require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages))
				db.exec(t, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
				for i := 0; ; i++ { // until the pages are full
					key = fmt.Sprint(w, i)
					r := b.post(s, key)
					if r.status == http.StatusCreated {
						continue
					}
					require.GreaterOrEqual(t, r.status, 500)
					require.Zero(t, b.transfers(key))
					break
				}
				last := events[len(events)-1]
				require.True(t, errors.Is(last.Err, idempotent.ErrFull) || last.Outcome == idempotent.OutcomeReleased, "%s %v", last.Outcome, last.Err)
				db.exec(t, "PRAGMA max_page_count = 100000")
				require.Equal(t, http.StatusCreated, b.post(s, key).status)
				b.check()
			})
		}
	})
}

// A handler's failed statement for which the file was full is reported as such too, although
// the handler ignores it.
func TestFullFileInAHandlerIsErrFull(t *testing.T) {
	t.Parallel()
	eachSQLite(t, func(t *testing.T, b *bank) {
		s := newService("service", withExecutor, b.doom().DB)
		var errs []error
		s.guard.Observe = func(_ context.Context, e idempotent.Event) { errs = append(errs, e.Err) }
		s.at = func(ctx context.Context, tx sqlstore.DBTX, p point) error {
			if p == betweenRows {
				_, err := tx.ExecContext(ctx, "INSERT INTO blobs VALUES (zeroblob(1000000))")
				require.ErrorContains(t, err, "database or disk is full")
			}
			return nil
		}
		require.Equal(t, http.StatusServiceUnavailable, b.post(s, "key").status)
		require.Len(t, errs, 1)
		require.ErrorIs(t, errs[0], idempotent.ErrFull)
		b.check()
	}, wal)
}
