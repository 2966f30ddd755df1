package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// answer returns the completion of a handler that answers with a status.
func answer(status int) idempotent.Completion {
	return idempotent.Response{Status: status}.Completion(time.Hour)
}

var released = idempotent.Completion{State: idempotent.StateAbsent}

// openEffects returns a database with a table for effects.
func openEffects(t testing.TB, open func(testing.TB) *database) *database {
	t.Helper()
	db := open(t)
	db.exec(t, "CREATE TABLE effects (id integer PRIMARY KEY)")
	return db
}

// insert makes an effect.
func insert(ctx context.Context, tx sqlstore.DBTX, id int) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO effects (id) VALUES ($1)", id)
	return err
}

// execute makes a call of Execute.
func execute(t testing.TB, s idempotent.Executor, c idempotent.Claim, run func(ctx context.Context) idempotent.Completion) (idempotent.Decision, error) {
	t.Helper()
	return s.Execute(t.Context(), c, func(ctx context.Context, _ int) idempotent.Completion { return run(ctx) })
}

// wantVerdict makes a call that does not run.
func wantVerdict(t testing.TB, s idempotent.Executor, c idempotent.Claim, want idempotent.Verdict) {
	t.Helper()
	d, err := execute(t, s, c, func(context.Context) idempotent.Completion {
		t.Error("the handler runs")
		return released
	})
	require.NoError(t, err)
	require.Equal(t, want, d.Verdict)
}

func TestInTxWithAKeyGoesBackToItsSavepoint(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		s := sqlstore.NewExecutor(db.DB, db.dialect, nil)
		c, failure := newClaim(), errors.New("failure")
		_, err := execute(t, s, c, func(ctx context.Context) idempotent.Completion {
			in := func(f func(tx sqlstore.DBTX) error) error { return sqlstore.InTx(ctx, db.DB, f) }
			require.NoError(t, in(func(tx sqlstore.DBTX) error { return insert(ctx, tx, 1) }))
			require.ErrorIs(t, in(func(tx sqlstore.DBTX) error {
				require.NoError(t, insert(ctx, tx, 2))
				require.NoError(t, in(func(tx sqlstore.DBTX) error { return insert(ctx, tx, 3) }))
				return failure
			}), failure)
			require.Error(t, in(func(tx sqlstore.DBTX) error {
				require.NoError(t, insert(ctx, tx, 4))
				return insert(ctx, tx, 1) // it exists
			}))
			require.PanicsWithValue(t, "boom", func() {
				_ = in(func(tx sqlstore.DBTX) error {
					require.NoError(t, insert(ctx, tx, 5))
					panic("boom")
				})
			})
			require.NoError(t, insert(ctx, sqlstore.Tx(ctx), 6))
			return answer(201)
		})
		require.NoError(t, err)
		require.Equal(t, []int{1, 6}, ids(t, db))
		wantVerdict(t, s, rival(c), idempotent.VerdictDone)
	})
}

// ids returns the committed effects.
func ids(t testing.TB, db *database) (list []int) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "SELECT id FROM effects ORDER BY id")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id int
		require.NoError(t, rows.Scan(&id))
		list = append(list, id)
	}
	require.NoError(t, rows.Err())
	return list
}

// InTx cannot roll back while rows are open. What it has done is not committed after they are
// closed.
func TestInTxThatCannotRollBackIsNoAnswer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		_, err := execute(t, sqlstore.NewExecutor(db.DB, db.dialect, nil), newClaim(), func(ctx context.Context) idempotent.Completion {
			var rows *sql.Rows
			err := sqlstore.InTx(ctx, db.DB, func(tx sqlstore.DBTX) (err error) {
				require.NoError(t, insert(ctx, tx, 1))
				rows, err = tx.QueryContext(ctx, "SELECT generate_series(1, 2)")
				require.NoError(t, err)
				return errors.New("not enough money")
			})
			require.Error(t, err)
			require.NoError(t, rows.Close())
			return answer(409)
		})
		require.ErrorContains(t, err, "rows were open")
		require.Empty(t, ids(t, db))
	}, "pgx")
}

func TestInTxWithoutAKeyIsItsOwnTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		ctx, failure := t.Context(), errors.New("failure")
		require.Nil(t, sqlstore.Tx(ctx))
		require.NoError(t, sqlstore.InTx(ctx, db.DB, func(tx sqlstore.DBTX) error { return insert(ctx, tx, 1) }))
		require.ErrorIs(t, sqlstore.InTx(ctx, db.DB, func(tx sqlstore.DBTX) error {
			require.NoError(t, insert(ctx, tx, 2))
			return failure
		}), failure)
		require.Equal(t, []int{1}, ids(t, db))
	})
}

// database/sql rolls back when the context ends, and then says only that the transaction is over.
func TestInTxWhoseContextHasEndedSaysSo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		err := sqlstore.InTx(ctx, db.DB, func(tx sqlstore.DBTX) error {
			require.NoError(t, insert(ctx, tx, 1))
			cancel()
			require.Eventually(t, func() bool {
				_, err := tx.ExecContext(context.Background(), "SELECT 1")
				return errors.Is(err, sql.ErrTxDone)
			}, time.Minute, time.Millisecond)
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, ids(t, db))
	})
}

func TestHandlerThatEndsTheTransactionFails(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		for _, statements := range [][]string{
			{"COMMIT"},
			{"ROLLBACK"},
			{"ROLLBACK", "BEGIN"},
			{"ROLLBACK", "BEGIN", "SAVEPOINT seawall_before_run"},
			{"RELEASE SAVEPOINT seawall_before_run"},
		} {
			for _, completion := range []idempotent.Completion{answer(201), answer(409), released} {
				db := openEffects(t, open)
				s := sqlstore.NewExecutor(db.DB, db.dialect, nil)
				c := newClaim()
				_, err := execute(t, s, c, func(ctx context.Context) idempotent.Completion {
					require.NoError(t, insert(ctx, sqlstore.Tx(ctx), 1))
					for _, statement := range statements {
						_, err := sqlstore.Tx(ctx).ExecContext(ctx, statement)
						require.NoError(t, err)
					}
					return completion
				})
				if completion.State == idempotent.StateAbsent && len(statements) == 3 {
					require.NoError(t, err) // it has been rolled back
				} else {
					require.ErrorContains(t, err, "the handler has ended it", "%s", statements)
				}
				if statements[0] == "COMMIT" { // together with the claim, so no retry repeats the effect
					require.Equal(t, []int{1}, ids(t, db))
					wantVerdict(t, s, rival(c), idempotent.VerdictUnknown)
					require.NoError(t, s.Resolve(t.Context(), c.ID, answer(201)))
				} else {
					require.Empty(t, ids(t, db))
				}
			}
		}
	})
}

func TestTransactionIsOverWhenTheHandlerHasReturned(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		var tx sqlstore.DBTX
		use := func() {
			_, err := tx.ExecContext(t.Context(), "SELECT 1")
			require.ErrorContains(t, err, "the handler has returned")
			_, err = tx.PrepareContext(t.Context(), "SELECT 1")
			require.ErrorContains(t, err, "the handler has returned")
			rows, err := tx.QueryContext(t.Context(), "SELECT 1") //nolint:sqlclosecheck,rowserrcheck // there are none
			require.ErrorContains(t, err, "the handler has returned")
			require.Nil(t, rows)
			var n int
			require.ErrorContains(t, tx.QueryRowContext(t.Context(), "SELECT 1").Scan(&n), "the handler has returned")
		}
		s := sqlstore.NewExecutor(db.DB, db.dialect, nil)
		db.connector.onCommit(func(inner commitTx) error {
			use()
			return inner.Tx.Commit()
		})
		_, err := execute(t, s, newClaim(), func(ctx context.Context) idempotent.Completion {
			tx = sqlstore.Tx(ctx)
			var n int
			require.NoError(t, tx.QueryRowContext(ctx, "SELECT 1").Scan(&n))
			stmt, err := tx.PrepareContext(ctx, "INSERT INTO effects (id) VALUES ($1)")
			require.NoError(t, err)
			_, err = stmt.ExecContext(ctx, n)
			require.NoError(t, err)
			require.NoError(t, stmt.Close())
			return answer(201)
		})
		require.NoError(t, err)
		require.Equal(t, []int{1}, ids(t, db))
		use()
	})
}

func TestRecordOutlivesAHandlerThatTakesLongerThanItsRetention(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		s := sqlstore.NewExecutor(db.DB, db.dialect, nil)
		c := newClaim()
		c.Retention = time.Minute
		_, err := execute(t, s, c, func(ctx context.Context) idempotent.Completion {
			require.NoError(t, insert(ctx, sqlstore.Tx(ctx), 1))
			db.advance(2 * time.Minute)
			return answer(201)
		})
		require.NoError(t, err)
		wantVerdict(t, s, rival(c), idempotent.VerdictDone)
	})
}

// SQLite rolls the whole transaction back after some errors. What the handler then does must
// not be committed.
func TestNothingIsCommittedAfterSQLiteHasRolledBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		for name, provoke := range map[string]func(ctx context.Context, tx sqlstore.DBTX) error{
			"a conflict": func(ctx context.Context, tx sqlstore.DBTX) error {
				_, err := tx.ExecContext(ctx, "INSERT OR ROLLBACK INTO effects (id) VALUES (1)")
				return err
			},
			"an interruption": func(ctx context.Context, tx sqlstore.DBTX) error {
				ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				_, err := tx.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n)
					INSERT INTO effects (id) SELECT i FROM n`)
				return err
			},
		} {
			db := openEffects(t, open)
			s := sqlstore.NewExecutor(db.DB, db.dialect, nil)
			c := newClaim()
			_, err := execute(t, s, c, func(ctx context.Context) idempotent.Completion {
				tx := sqlstore.Tx(ctx)
				require.NoError(t, insert(ctx, tx, 1))
				require.Error(t, provoke(ctx, tx), name)
				require.NoError(t, insert(ctx, tx, 2))
				return answer(201)
			})
			require.Error(t, err, name)
			require.Empty(t, ids(t, db), name)
			_, err = execute(t, s, rival(c), func(context.Context) idempotent.Completion { return answer(201) })
			require.NoError(t, err, name)
		}
	}, "modernc", "ncruces")
}

func TestHandlerRunsAgainAfterAConflictWithinInTx(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		runs := 0
		_, err := execute(t, sqlstore.NewExecutor(db.DB, db.dialect, nil), newClaim(), func(ctx context.Context) idempotent.Completion {
			runs++
			err := sqlstore.InTx(ctx, db.DB, func(tx sqlstore.DBTX) error {
				if runs == 1 {
					_, err := tx.ExecContext(ctx, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$")
					return err
				}
				return insert(ctx, tx, runs)
			})
			if err != nil {
				return released
			}
			return answer(201)
		})
		require.NoError(t, err)
		require.Equal(t, []int{2}, ids(t, db))
	}, "pgx", "pq")
}

func TestConflictsEndAfterAFewRuns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		runs := 0
		_, err := execute(t, sqlstore.NewExecutor(db.DB, db.dialect, nil), newClaim(), func(context.Context) idempotent.Completion {
			runs++
			db.connector.onCommit(conflictCommit)
			return answer(201)
		})
		require.ErrorAs(t, err, new(conflict))
		require.Equal(t, 4, runs)
	}, "pgx", "pq")
}

func TestTimeoutsApplyToTheTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		show := func(o *sqlstore.Options) (shown []string) {
			_, err := execute(t, sqlstore.NewExecutor(db.DB, db.dialect, o), newClaim(), func(ctx context.Context) idempotent.Completion {
				for _, setting := range []string{"idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout", "transaction_isolation"} {
					var value string
					require.NoError(t, sqlstore.Tx(ctx).QueryRowContext(ctx, "SHOW "+setting).Scan(&value))
					shown = append(shown, value)
				}
				return released
			})
			require.NoError(t, err)
			return shown
		}
		require.Equal(t, []string{"1min", "0", "0", "read committed"}, show(nil))
		require.Equal(t, []string{"0", "0", "0", "read committed"}, show(&sqlstore.Options{IdleTimeout: -1}))
		require.Equal(t, []string{"3s", "2s", "1500ms", "serializable"}, show(&sqlstore.Options{
			IdleTimeout: 3 * time.Second, StatementTimeout: 2 * time.Second, LockTimeout: 1500 * time.Millisecond,
			TxOptions: sql.TxOptions{Isolation: sql.LevelSerializable},
		}))
		const year = 365 * 24 * time.Hour // more than PostgreSQL accepts
		require.Equal(t, []string{"2147483647ms", "2147483647ms", "1ms", "read committed"}, show(&sqlstore.Options{
			IdleTimeout: year, StatementTimeout: year, LockTimeout: 1,
		}))
	}, "pgx", "pq")
}

// The commit takes effect in the end, but no one waits for that.
func TestCommitWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		db.connector.uncanceled.Store(true)
		s := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Wait: 200 * time.Millisecond})
		answers, ended := make(chan struct{}), make(chan struct{})
		db.connector.onCommit(func(inner commitTx) error {
			defer close(ended)
			<-answers
			return inner.Tx.Commit()
		})
		c := newClaim()
		_, err := execute(t, s, c, func(ctx context.Context) idempotent.Completion {
			require.NoError(t, insert(ctx, sqlstore.Tx(ctx), 1))
			return answer(201)
		})
		require.ErrorContains(t, err, "it is unknown whether the transaction is committed")
		close(answers)
		<-ended
		wantVerdict(t, s, rival(c), idempotent.VerdictDone)
		require.Equal(t, []int{1}, ids(t, db))
	})
}

func TestOneConnectionIsEnough(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		db.SetMaxOpenConns(1)
		s := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Wait: time.Second})
		c := newClaim()
		_, err := execute(t, s, c, func(ctx context.Context) idempotent.Completion {
			require.NoError(t, insert(ctx, sqlstore.Tx(ctx), 1))
			_, err := execute(t, s, rival(c), func(context.Context) idempotent.Completion { return released })
			require.ErrorIs(t, err, context.DeadlineExceeded) // the handler has the connection
			return answer(201)
		})
		require.NoError(t, err)
		wantVerdict(t, s, rival(c), idempotent.VerdictDone)
	})
}

func TestPanicsOfConstructors(t *testing.T) {
	t.Parallel()
	db := new(sql.DB)
	for name, f := range map[string]func(){
		"nil database":                func() { sqlstore.New(nil, sqlstore.SQLite, nil) },
		"no dialect":                  func() { sqlstore.New(db, 0, nil) },
		"invalid prefix":              func() { sqlstore.NewExecutor(db, sqlstore.PostgreSQL, &sqlstore.Options{Prefix: "A-"}) },
		"schema in SQLite":            func() { sqlstore.NewExecutor(db, sqlstore.SQLite, &sqlstore.Options{Prefix: "main.a_"}) },
		"negative wait":               func() { sqlstore.NewExecutor(db, sqlstore.PostgreSQL, &sqlstore.Options{Wait: -1}) },
		"nil database of an Executor": func() { sqlstore.NewExecutor(nil, sqlstore.SQLite, nil) },
	} {
		require.Panics(t, f, name)
	}
	require.Contains(t, sqlstore.Schema(sqlstore.PostgreSQL, &sqlstore.Options{Prefix: "billing.a_"}), "billing.a_records")
}

func TestBeginIsBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		late := func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
			<-ctx.Done()
			return ctx, tx, err
		}
		fails := func(context.Context) (context.Context, sqlstore.Transaction, error) {
			return nil, nil, errors.New("no transaction")
		}
		for name, begin := range map[string]func(context.Context) (context.Context, sqlstore.Transaction, error){"late": late, "fails": fails} {
			s := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Begin: begin, Wait: 50 * time.Millisecond})
			_, err := execute(t, s, newClaim(), func(context.Context) idempotent.Completion {
				t.Error("the handler runs")
				return released
			})
			require.Error(t, err, name)
			require.Zero(t, db.Stats().InUse, "connections")
		}
	})
}

// The context of the run has the values of Options.Begin, and ends as the caller's does.
func TestContextOfBeginReachesTheHandler(t *testing.T) {
	t.Parallel()
	type outer struct{}
	type inner struct{}
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := openEffects(t, open)
		s := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Begin: func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx, err := db.BeginTx(ctx, nil)
			return context.WithValue(ctx, inner{}, fmt.Sprint(ctx.Value(outer{}), " and inner")), tx, err
		}})
		cause := errors.New("the end")
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), outer{}, "outer"))
		c := newClaim()
		_, err := s.Execute(ctx, c, func(ctx context.Context, _ int) idempotent.Completion {
			require.Equal(t, "outer and inner", ctx.Value(inner{}))
			require.NoError(t, ctx.Err())
			require.NoError(t, insert(ctx, sqlstore.Tx(ctx), 1))
			cancel(cause)
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			require.Equal(t, cause, context.Cause(ctx))
			require.NoError(t, insert(t.Context(), sqlstore.Tx(ctx), 2), "the transaction goes on")
			return answer(201)
		})
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, ids(t, db))
		wantVerdict(t, s, rival(c), idempotent.VerdictDone)
	})
}

// Each call counts the effects and adds one with that number, which only works one after another.
func TestSerializableRunsTakeEffectOneAfterAnother(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		db.exec(t, "CREATE TABLE effects (id integer)")
		s := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{TxOptions: sql.TxOptions{Isolation: sql.LevelSerializable}})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c := newClaim()
				for {
					failed := false
					d, err := s.Execute(t.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
						tx := sqlstore.Tx(ctx)
						var n int
						err := tx.QueryRowContext(ctx, "SELECT count(*) FROM effects").Scan(&n)
						if err == nil {
							err = insert(ctx, tx, n+1)
						}
						if failed = err != nil; failed {
							return released
						}
						return answer(201)
					})
					if err == nil && !failed && d.Verdict == idempotent.VerdictAcquired {
						return
					}
					if t.Context().Err() != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8}, ids(t, db))
	}, "pgx", "pq", "ncruces")
}
