package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/vfs/memdb"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

var quiet = &idempotent.Options{Logger: slog.New(slog.DiscardHandler)}

// accounts creates two accounts.
func accounts(t testing.TB, db *database) {
	t.Helper()
	db.exec(t, "CREATE TABLE accounts (id text PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0))")
	db.exec(t, "INSERT INTO accounts VALUES ('from', 100), ('to', 0)")
}

func cents(t testing.TB, db *database, id string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(context.Background(), "SELECT cents FROM accounts WHERE id = $1", id).Scan(&n))
	return n
}

// transfer moves 70 cents.
func transfer(ctx context.Context, tx sqlstore.DBTX) error {
	for _, move := range []struct {
		id    string
		cents int
	}{{"to", 70}, {"from", -70}} {
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + $1 WHERE id = $2", move.cents, move.id); err != nil {
			return err
		}
	}
	return nil
}

// post sends a request.
func post(t testing.TB, h http.Handler, key string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/transfers", strings.NewReader("{}"))
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTransfersThroughTheMiddleware(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		accounts(t, db)
		x := sqlstore.NewExecutor(db.DB, db.dialect, nil)
		h := idempotent.New(x, idempotent.Global, quiet)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			err := sqlstore.InTx(r.Context(), db.DB, func(tx sqlstore.DBTX) error { return transfer(r.Context(), tx) })
			if err != nil {
				http.Error(w, "insufficient funds", http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusCreated)
		}))
		for range 2 {
			require.Equal(t, 201, post(t, h, "first").Code)
			require.Equal(t, 30, cents(t, db, "from"))
		}
		for range 2 {
			require.Equal(t, 409, post(t, h, "second").Code)
		}
		require.Equal(t, 409, post(t, h, "").Code)
		db.exec(t, "UPDATE accounts SET cents = 1000 WHERE id = 'from'")
		require.Equal(t, 409, post(t, h, "second").Code, "a replay")
		require.Equal(t, 201, post(t, h, "").Code)
		require.Equal(t, 930, cents(t, db, "from"))
		require.Equal(t, 140, cents(t, db, "to"))
	})
}

func TestDoWithAnExecutor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		accounts(t, db)
		g := idempotent.NewGuard(sqlstore.NewExecutor(db.DB, db.dialect, nil), quiet)
		call := idempotent.Call{Principal: "principal", Key: "key"}
		failure := errors.New("failure")
		for i := range 4 {
			left, err := idempotent.Do(t.Context(), g, call, func(ctx context.Context) (left int, err error) {
				if err = transfer(ctx, sqlstore.Tx(ctx)); err == nil && i == 0 {
					err = failure
				}
				return 100 - 70 + i, err
			})
			if i == 0 {
				require.ErrorIs(t, err, failure)
				require.Equal(t, 100, cents(t, db, "from"))
				continue
			}
			require.NoError(t, err)
			require.Equal(t, 31, left)
			require.Equal(t, 30, cents(t, db, "from"))
		}
	})
}

// A handler with its own transaction.
func TestEffectAndRecordInTheHandlersTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		accounts(t, db)
		s := sqlstore.New(db.DB, db.dialect, nil)
		response := idempotent.Response{Status: 201, Body: []byte("moved")}
		var (
			mark     func(ctx context.Context, tx *sql.Tx) error
			rollBack bool
		)
		h := idempotent.New(s, idempotent.Global, quiet)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tx, err := db.BeginTx(r.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback()
			require.NoError(t, transfer(r.Context(), tx))
			require.NoError(t, mark(r.Context(), tx))
			if rollBack {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			require.NoError(t, tx.Commit())
			if _, ok := idempotent.OwnerOf(r.Context()); !ok {
				return
			}
			if strings.HasPrefix(r.Header.Get("Idempotency-Key"), "fails") {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			w.WriteHeader(response.Status)
			_, _ = w.Write(response.Body)
		}))
		begin := func(ctx context.Context, tx *sql.Tx) error { return s.BeginEffectTx(ctx, tx) }
		finish := func(ctx context.Context, tx *sql.Tx) error { return s.FinishTx(ctx, tx, response) }
		for i, c := range []struct {
			key        string
			mark       func(ctx context.Context, tx *sql.Tx) error
			rollBack   bool
			first      int
			retry      int
			effects    int
			afterRetry int
		}{
			{"begin", begin, false, 201, 201, 1, 1},
			{"fails after begin", begin, false, 500, 409, 1, 1},
			{"rolls back after begin", begin, true, 500, 500, 0, 0},
			{"finish", finish, false, 201, 201, 1, 1},
			{"fails after finish", finish, false, 500, 201, 1, 1},
			{"rolls back after finish", finish, true, 500, 500, 0, 0},
			{"", begin, false, 200, 200, 1, 2},
			{"", finish, false, 200, 200, 1, 2},
		} {
			db.exec(t, "UPDATE accounts SET cents = 140 WHERE id = 'from'")
			db.exec(t, "UPDATE accounts SET cents = 0 WHERE id = 'to'")
			mark, rollBack = c.mark, c.rollBack
			key := c.key
			if key != "" {
				key = strings.ReplaceAll(key, " ", "_") + fmt.Sprint(i)
			}
			require.Equal(t, c.first, post(t, h, key).Code, c.key)
			require.Equal(t, 70*c.effects, cents(t, db, "to"), c.key)
			require.Equal(t, c.retry, post(t, h, key).Code, c.key)
			require.Equal(t, 70*c.afterRetry, cents(t, db, "to"), c.key)
		}
	})
}

// Another connection writes for as long as the test wants.
func TestBusySQLiteIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		accounts(t, db)
		o := &sqlstore.Options{Wait: 200 * time.Millisecond}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tx := sqlstore.Tx(r.Context()); tx != nil {
				require.NoError(t, transfer(r.Context(), tx))
			}
			w.WriteHeader(http.StatusCreated)
		})
		for name, s := range map[string]idempotent.Store{
			"Store":    sqlstore.New(db.DB, db.dialect, o),
			"Executor": sqlstore.NewExecutor(db.DB, db.dialect, o),
		} {
			h := idempotent.New(s, idempotent.Global, quiet)(handler)
			writer, err := db.Conn(t.Context())
			require.NoError(t, err)
			_, err = writer.ExecContext(t.Context(), "BEGIN IMMEDIATE")
			require.NoError(t, err)
			require.Equal(t, 503, post(t, h, name).Code)
			_, err = writer.ExecContext(t.Context(), "COMMIT")
			require.NoError(t, err)
			require.NoError(t, writer.Close())
			require.Equal(t, 201, post(t, h, name).Code)
		}
		require.Equal(t, 30, cents(t, db, "from"))
	}, "modernc", "ncruces")
}

// The writer ends while the calls wait, however short the busy timeout is.
func TestBusySQLiteIsAwaited(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		accounts(t, db)
		x := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Wait: patience})
		writer, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer writer.Close()
		require.NoError(t, db.PingContext(t.Context())) // opens the connection for the call
		_, err = writer.ExecContext(t.Context(), "BEGIN IMMEDIATE")
		require.NoError(t, err)
		before, result := db.connector.transactions.Load(), make(chan error, 1)
		go func() {
			_, err := x.Execute(t.Context(), newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
				if transfer(ctx, sqlstore.Tx(ctx)) != nil {
					return released
				}
				return answer(201)
			})
			result <- err
		}()
		eventually(t, func() bool { return db.connector.transactions.Load() >= before+3 }, "two tries that were refused")
		_, err = writer.ExecContext(t.Context(), "COMMIT")
		require.NoError(t, err)
		require.NoError(t, <-result)
		require.Equal(t, 30, cents(t, db, "from"))
	}, "modernc", "ncruces")
}

func TestInMemoryDatabase(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"modernc": "file:sqltest_memory?mode=memory&cache=shared",
		"ncruces": "file:/sqltest_memory?vfs=memdb",
	} {
		open := openModernc
		if name == "ncruces" {
			open = openNcruces
		}
		db := connect(t, open, dsn, sqlstore.SQLite)
		require.NoError(t, sqlstore.Migrate(t.Context(), db.DB, db.dialect, nil))
		accounts(t, db)
		x := sqlstore.NewExecutor(db.DB, db.dialect, nil)
		c := newClaim()
		for range 2 {
			d, err := execute(t, x, c, func(ctx context.Context) idempotent.Completion {
				require.NoError(t, transfer(ctx, sqlstore.Tx(ctx)))
				return answer(201)
			})
			require.NoError(t, err, name)
			require.NotZero(t, d.Verdict)
		}
		require.Equal(t, 30, cents(t, db, "from"))
	}
}
