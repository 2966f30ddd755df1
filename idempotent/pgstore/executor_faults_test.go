package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// A gate keeps a pool from connecting again.
type gate struct {
	used atomic.Bool
	open chan struct{}
}

func (g *gate) install(c *pgxpool.Config) {
	c.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error {
		if !g.used.Swap(true) {
			return nil
		}
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// The server has committed, and the client's connection is broken. The Executor finds that out.
func TestExecutorFindsOutThatACommitTookEffect(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	proxy := pgtest.NewProxy(t, server.Addr)
	g := &gate{open: make(chan struct{})}
	s := newService("service", withExecutor, b.connect(proxy.URL(""), g.install))
	s.store.Wait = patience
	dropped := proxy.DropCommitReply("INSERT INTO transfers")
	got := make(chan response, 1)
	go func() { got <- b.post(s, "key") }()
	receive(t, dropped)
	require.Equal(t, 1, b.transfers("key"))
	require.Empty(t, got)
	close(g.open)
	want := response{http.StatusCreated, "service, run 1, attempt 1", false, nil}
	require.Equal(t, want, receive(t, got))
	want.replayed = true
	require.Equal(t, want, b.post(s, "key"))
	b.check()
}

// While the database cannot be reached, the outcome of a commit is unknown. The client gets an
// error, and a retry gets the answer.
func TestCommitThatCannotBeFoundOutIsAnError(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	proxy := pgtest.NewProxy(t, server.Addr)
	g := &gate{open: make(chan struct{})}
	s := newService("service", withExecutor, b.connect(proxy.URL(""), g.install))
	s.store.Wait = time.Second
	var last atomic.Pointer[idempotent.Event]
	s.guard.Observe = func(_ context.Context, e idempotent.Event) { last.Store(&e) }
	b.postUntil(s, "connects", http.StatusCreated)
	dropped := proxy.DropCommitReply("INSERT INTO transfers")
	require.Equal(t, http.StatusServiceUnavailable, b.post(s, "key").status)
	receive(t, dropped)
	require.ErrorContains(t, last.Load().Err, "it is unknown whether the transaction is committed")
	close(g.open)
	want := fmt.Sprintf("service, run %d, attempt 1", s.runs.Load())
	require.Equal(t, response{http.StatusCreated, want, true, nil}, b.postUntil(s, "key", http.StatusCreated))
	b.check()
}

// The connection breaks at the COMMIT of the service's transaction, before or after it takes
// effect.
func TestBrokenCommitCausesNoSecondEffect(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	const text = "INSERT INTO transfers"
	for _, fault := range []struct {
		name      string
		cause     func(*pgtest.Proxy) <-chan struct{}
		committed bool
	}{
		{"lost commit", func(p *pgtest.Proxy) <-chan struct{} { return p.LoseCommit(text) }, false},
		{"lost reply", func(p *pgtest.Proxy) <-chan struct{} { return p.DropCommitReply(text) }, true},
		{"late commit", func(p *pgtest.Proxy) <-chan struct{} { return p.DelayCommit(text, 200*time.Millisecond) }, true},
	} {
		for _, w := range transactional {
			for _, mode := range []string{"cache_statement", "simple_protocol"} {
				t.Run(fmt.Sprintf("%s, %s, %s", fault.name, w, mode), func(t *testing.T) {
					t.Parallel()
					b := newBank(t, server.URL(""))
					proxy := pgtest.NewProxy(t, server.Addr)
					s := newService("service", w, b.connect(proxy.URL("")+"&default_query_exec_mode="+mode))
					caused := fault.cause(proxy)
					r := b.post(s, "key")
					receive(t, caused)
					if fault.committed {
						require.Equal(t, 1, b.transfers("key"))
					}
					switch {
					case w == withExecutor && fault.committed:
						require.Equal(t, response{http.StatusCreated, "service, run 1, attempt 1", false, nil}, r)
					default:
						require.GreaterOrEqual(t, r.status, 500, r.body)
					}
					switch {
					case w == withBeginEffectTx && fault.committed:
						r = b.post(s, "key")
						require.Equal(t, http.StatusConflict, r.status)
						require.Contains(t, r.body, "idempotency_outcome_unknown")
						b.settle(s, "key")
					case fault.committed:
						require.Equal(t, response{http.StatusCreated, "service, run 1, attempt 1", true, nil}, b.post(s, "key"))
					default:
						require.Equal(t, "service, run 2, attempt 1", b.postUntil(s, "key", http.StatusCreated).body)
					}
					b.check()
				})
			}
		}
	}
}

// The server ends the connection of a transaction. A retry makes the transfer.
func TestTerminatedSessionLeavesNoTrace(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, w := range transactional {
		for _, at := range []point{betweenRows, afterWrite, afterMark} {
			if at == afterMark && w == withExecutor {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s", w, at), func(t *testing.T) {
				t.Parallel()
				b := newBank(t, server.URL(""))
				s := newService("service", w, b.connect(server.URL("")))
				s.at = func(_ context.Context, tx pgx.Tx, p point) error {
					if p == at && s.runs.Load() == 1 {
						b.exec("SELECT pg_terminate_backend($1)", tx.Conn().PgConn().PID())
					}
					return nil
				}
				require.GreaterOrEqual(t, b.post(s, "key").status, 500)
				require.Zero(t, b.transfers("key"))
				require.Equal(t, "service, run 2, attempt 1", b.postUntil(s, "key", http.StatusCreated).body)
				b.check()
			})
		}
	}
}

// The server ends and starts again, during a handler and during a commit.
func TestRestartedServer(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*pgtest.Server){
		"immediate stop": (*pgtest.Server).StopImmediately,
		"kill":           (*pgtest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Start(t)
			b := newBank(t, server.URL(""))
			restart := func() {
				stop(server)
				if err := server.Run(); err != nil {
					t.Error(err)
				}
				b.pool.Reset()
			}
			for _, w := range transactional {
				proxy := pgtest.NewProxy(t, server.Addr)
				s := newService("service", w, b.connect(proxy.URL("")))
				s.guard.StoreTimeout, s.store.Wait = 5*time.Second, patience
				s.at = func(_ context.Context, _ pgx.Tx, p point) error {
					if p == afterWrite && s.runs.Load() == 1 {
						restart()
					}
					return nil
				}
				key := string(w) + "/handler"
				require.GreaterOrEqual(t, b.post(s, key).status, 500, key)
				require.Equal(t, "service, run 2, attempt 1", b.postUntil(s, key, http.StatusCreated).body)

				for _, committed := range []bool{false, true} {
					fault := proxy.LoseCommit
					if committed {
						fault = proxy.DropCommitReply
					}
					key := fmt.Sprintf("%s/%t", w, committed)
					broken, restarted := fault("INSERT INTO transfers"), make(chan struct{})
					go func() {
						defer close(restarted)
						<-broken
						restart()
					}()
					r := b.post(s, key)
					receive(t, restarted)
					if w == withExecutor && committed {
						require.Equal(t, http.StatusCreated, r.status, key)
					}
					if w == withBeginEffectTx && committed {
						eventually(t, func() bool {
							r = b.post(s, key)
							return strings.Contains(r.body, "idempotency_outcome_unknown")
						}, "an unknown outcome")
						b.settle(s, key)
					}
					b.postUntil(s, key, http.StatusCreated)
				}
			}
			b.check()
		})
	}
}

// conflicts make the first run of a transaction fail in PostgreSQL.
var conflicts = map[string]func(b *bank) func(ctx context.Context, tx pgx.Tx, p point) error{
	"concurrent update": func(b *bank) func(context.Context, pgx.Tx, point) error {
		return func(_ context.Context, _ pgx.Tx, p point) error {
			if p == beforeWrite {
				b.exec("UPDATE accounts SET cents = cents WHERE id = 1")
			}
			return nil
		}
	},
	"write skew": func(b *bank) func(context.Context, pgx.Tx, point) error {
		b.exec("CREATE TABLE audits (transfers bigint)")
		return func(ctx context.Context, tx pgx.Tx, p point) error {
			if p != afterWrite {
				return nil
			}
			if _, err := tx.Exec(ctx, "SELECT * FROM audits"); err != nil {
				return err
			}
			return pgx.BeginTxFunc(ctx, b.pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO audits SELECT count(*) FROM transfers")
				return err
			})
		}
	},
}

// After a serialization failure, of a statement or of the commit, the handler runs again.
func TestHandlerRunsAgainAfterASerializationFailure(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for name, conflict := range conflicts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			s := newService("service", withExecutor, b.connect(server.URL("")))
			s.store.TxOptions.IsoLevel = pgx.Serializable
			f := conflict(b)
			s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
				if s.runs.Load() > 2 { // two runs fail
					return nil
				}
				return f(ctx, tx, p)
			}
			require.Equal(t, response{http.StatusCreated, "service, run 3, attempt 1", false, nil}, b.post(s, "key"))
			require.Equal(t, response{http.StatusCreated, "service, run 3, attempt 1", true, nil}, b.post(s, "key"))
			b.check()
		})
	}
}

// A conflict that does not end is an error after a few runs.
func TestReRunsAreBounded(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for name, conflict := range conflicts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			s := newService("service", withExecutor, b.connect(server.URL("")))
			s.store.TxOptions.IsoLevel = pgx.Serializable
			s.at = conflict(b)
			require.Equal(t, http.StatusServiceUnavailable, b.post(s, "key").status)
			require.EqualValues(t, 4, s.runs.Load())
			s.at = nil
			require.Equal(t, http.StatusCreated, b.post(s, "key").status)
			b.check()
		})
	}
}

// Two handlers lock two rows in opposite order. PostgreSQL ends one of them, which runs again.
func TestDeadlockedHandlersBothSucceed(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	s := newService("service", withExecutor, b.connect(server.URL("")+"&deadlock_timeout=100"))
	var meeting sync.WaitGroup
	meeting.Add(2)
	var met atomic.Int64
	s.at = func(_ context.Context, _ pgx.Tx, p point) error {
		if p == betweenRows && met.Add(1) <= 2 {
			meeting.Done()
			meeting.Wait()
		}
		return nil
	}
	got := make(chan response, 2)
	for _, path := range []string{"/transfers/1/2", "/transfers/2/1"} {
		go func() { got <- b.postPath(s, path, path) }()
	}
	for range 2 {
		require.Equal(t, http.StatusCreated, receive(t, got).status)
	}
	require.GreaterOrEqual(t, s.runs.Load(), int64(3)) // PostgreSQL may end both
	b.check()
}

// A statement of the handler fails, or the handler itself.
func TestFailedStatement(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	fail := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT 1/0")
		return err
	}
	for _, c := range []struct {
		name            string
		fail            func(ctx context.Context, pool *pgxpool.Pool, tx pgx.Tx) error
		status, retried int
		runs            int64
	}{
		{"4xx is recorded without effects", func(ctx context.Context, _ *pgxpool.Pool, tx pgx.Tx) error {
			return apierror.ParameterInvalid("amount", "is too high").WithCause(fail(ctx, tx))
		}, http.StatusBadRequest, http.StatusBadRequest, 1},
		{"2xx is an error", func(ctx context.Context, _ *pgxpool.Pool, tx pgx.Tx) error {
			_ = fail(ctx, tx)
			return nil
		}, http.StatusServiceUnavailable, http.StatusCreated, 2},
		{"InTx keeps the other effects", func(ctx context.Context, pool *pgxpool.Pool, _ pgx.Tx) error {
			if pgstore.InTx(ctx, pool, func(tx pgx.Tx) error { return fail(ctx, tx) }) == nil {
				return errors.New("no error")
			}
			return nil
		}, http.StatusCreated, http.StatusCreated, 1},
		{"5xx runs again", func(ctx context.Context, _ *pgxpool.Pool, tx pgx.Tx) error {
			return fail(ctx, tx)
		}, http.StatusInternalServerError, http.StatusCreated, 2},
		{"5xx without a failed statement runs again", func(context.Context, *pgxpool.Pool, pgx.Tx) error {
			return errors.New("a failure")
		}, http.StatusInternalServerError, http.StatusCreated, 2},
		{"panic runs again", func(context.Context, *pgxpool.Pool, pgx.Tx) error {
			panic(http.ErrAbortHandler)
		}, 0, http.StatusCreated, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			s := newService("service", withExecutor, b.connect(server.URL("")))
			s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
				if p == afterWrite && s.runs.Load() == 1 {
					return c.fail(ctx, s.pool, tx)
				}
				return nil
			}
			require.Equal(t, c.status, b.postPanicking(s, "key").status)
			for range 2 {
				require.Equal(t, c.retried, b.post(s, "key").status)
			}
			require.Equal(t, c.runs, s.runs.Load())
			b.check()
		})
	}
}

// postPanicking is post for a handler that may panic. The status is then 0.
func (b *bank) postPanicking(h http.Handler, key string) (r response) {
	b.Helper()
	defer func() {
		if p := recover(); p != nil {
			r = b.saw(key, response{err: fmt.Errorf("panic: %v", p)})
		}
	}()
	return b.post(h, key)
}

func TestHandlerCannotEndItsTransaction(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	pool, _ := newPool(t, server.URL(""))
	s := pgstore.NewExecutor(pool, nil)
	for sql, refused := range map[string]bool{
		"COMMIT": true, "commit;": true, "END": true, " ROLLBACK": true, "abort": true, "COMMIT; BEGIN": true, "ROLLBACK AND CHAIN": true,
		"PREPARE TRANSACTION 'a'": true, "SAVEPOINT a": false, "SAVEPOINT a; ROLLBACK TO a": false,
	} {
		_, err := s.Execute(t.Context(), newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
			tx := pgstore.Tx(ctx)
			for _, call := range []func() error{
				func() error { return execute(ctx, tx, sql) },
				func() error { _, err := tx.Query(ctx, sql); return err },
				func() error { return tx.QueryRow(ctx, sql).Scan() },
			} {
				if err := call(); refused {
					require.ErrorContains(t, err, "the Executor commits", sql)
				} else {
					require.NoError(t, err, sql)
					break
				}
			}
			require.Error(t, tx.Commit(ctx))
			require.Error(t, tx.Rollback(ctx))
			return done("response")
		})
		require.NoError(t, err, sql)
	}
}

func execute(ctx context.Context, tx pgx.Tx, sql string) error {
	_, err := tx.Exec(ctx, sql)
	return err
}

// A handler can get around that with the connection. It may then have committed.
func TestHandlerThatEndsItsTransactionIsUnknown(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for sql, committed := range map[string]int{
		"ROLLBACK":                           0,
		"ROLLBACK; BEGIN":                    0,
		"ROLLBACK; BEGIN; SAVEPOINT seawall": 0,
		"ROLLBACK AND CHAIN":                 0,
		"COMMIT":                             1,
		"COMMIT; BEGIN":                      1,
		"COMMIT AND CHAIN":                   1,
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			s := newService("service", withExecutor, b.connect(server.URL("")))
			s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
				if p == afterWrite && s.runs.Load() == 1 {
					_, err := tx.Conn().Exec(ctx, sql)
					return err
				}
				return nil
			}
			require.Equal(t, http.StatusServiceUnavailable, b.post(s, "key").status)
			for range 2 {
				require.Contains(t, b.post(s, "key").body, "idempotency_outcome_unknown")
			}
			require.Equal(t, committed, b.transfers("key"))
		})
	}
}

// A handler that does not close its rows keeps the connection busy. Nothing is committed.
func TestOpenRowsAreNoSuccess(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, rows := range []int{2, 1_000_000} {
		b := newBank(t, server.URL(""))
		s := newService("service", withExecutor, b.connect(server.URL(""), func(c *pgxpool.Config) { c.MaxConns = 1 }))
		s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
			if p == afterWrite && s.runs.Load() == 1 {
				rows, err := tx.Query(ctx, "SELECT generate_series(1, $1::int)", rows)
				if err == nil && !rows.Next() {
					err = rows.Err()
				}
				return err
			}
			return nil
		}
		require.Equal(t, http.StatusServiceUnavailable, b.post(s, "key").status)
		require.Equal(t, "service, run 2, attempt 1", b.post(s, "key").body)
		b.check()
	}
}

// A transaction that a handler has kept does nothing, although its connection is another one's.
func TestTransactionIsOverAfterTheHandler(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	s := newService("service", withExecutor, b.connect(server.URL(""), func(c *pgxpool.Config) { c.MaxConns = 1 }))
	var tx, savepoint pgx.Tx
	s.at = func(ctx context.Context, current pgx.Tx, p point) (err error) {
		if p != afterWrite {
			return nil
		}
		for _, end := range []func(context.Context) error{current.Commit, current.Rollback} {
			if end(ctx) == nil {
				t.Error("the handler can end the transaction")
			}
		}
		tx = current
		savepoint, err = tx.Begin(ctx)
		return err
	}
	require.Equal(t, http.StatusCreated, b.post(s, "key").status)
	ctx := t.Context()
	const insert = "INSERT INTO transfers VALUES ('late', 1, 2, 0)"
	for name, tx := range map[string]pgx.Tx{"transaction": tx, "savepoint": savepoint} {
		_, err := tx.Exec(ctx, insert)
		require.Error(t, err, name)
		rows, err := tx.Query(ctx, insert+" RETURNING key")
		require.Error(t, err, name)
		require.False(t, rows.Next(), name)
		require.Error(t, rows.Err(), name)
		require.Error(t, tx.QueryRow(ctx, insert+" RETURNING key").Scan(new(string)), name)
		batch := new(pgx.Batch)
		batch.Queue(insert)
		require.Error(t, tx.SendBatch(ctx, batch).Close(), name)
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"transfers"}, []string{"key"}, pgx.CopyFromRows([][]any{{"late"}}))
		require.Error(t, err, name)
		_, err = tx.Prepare(ctx, "late", insert)
		require.Error(t, err, name)
		_, err = tx.Begin(ctx)
		require.Error(t, err, name)
		require.Error(t, tx.Commit(ctx), name)
		require.Error(t, tx.Rollback(ctx), name)
	}
	require.Equal(t, http.StatusCreated, b.post(s, "another").status)
	b.check()
}

// The retention begins when the response is recorded. How long the handler runs does not matter.
func TestRunLongerThanTheRetentionIsRecorded(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, w := range transactional {
		b := newBank(t, server.URL(""))
		s := newService("service", w, b.connect(server.URL("")))
		s.guard.Retention = lease / 2
		s.at = func(_ context.Context, _ pgx.Tx, p point) error {
			if p == afterWrite {
				b.advance(lease / 2)
			}
			return nil
		}
		require.Equal(t, http.StatusCreated, b.post(s, "key").status, w)
		require.Equal(t, response{http.StatusCreated, "service, run 1, attempt 1", true, nil}, b.post(s, "key"), w)
		b.check()
	}
}

// InTx rolls its effects back even if the context has ended meanwhile.
func TestInTxRollsBackAfterItsContextHasEnded(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  error // of the function in the transaction
		want int
	}{
		{"failure", errors.New("not enough money"), 0},
		{"success", nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			x := pgstore.NewExecutor(b.connect(server.URL("")), nil)
			_, err := x.Execute(t.Context(), newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				err := pgstore.InTx(ctx, nil, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "INSERT INTO transfers VALUES ('key', 1, 2, 1)")
					require.NoError(t, err)
					cancel()
					return tt.end
				})
				require.Equal(t, tt.end, err)
				return idempotent.Response{Status: http.StatusConflict}.Completion(time.Hour)
			})
			require.NoError(t, err)
			require.Equal(t, tt.want, b.transfers("key"))
		})
	}
}

// InTx cannot roll back while rows are open. What it has done is not committed after they are
// closed.
func TestInTxThatCannotRollBackIsNoAnswer(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	_, err := pgstore.NewExecutor(b.pool, nil).Execute(t.Context(), newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
		var rows pgx.Rows
		err := pgstore.InTx(ctx, nil, func(tx pgx.Tx) (err error) {
			_, err = tx.Exec(ctx, "INSERT INTO transfers VALUES ('key', 1, 2, 1)")
			require.NoError(t, err)
			rows, err = tx.Query(ctx, "SELECT generate_series(1, 2)")
			require.NoError(t, err)
			return errors.New("not enough money")
		})
		require.Error(t, err)
		rows.Close()
		return idempotent.Response{Status: http.StatusConflict}.Completion(time.Hour)
	})
	require.ErrorContains(t, err, "rows were open")
	require.Zero(t, b.transfers("key"))
}

// Nothing is committed if the record would be in another table: the effect happens when the client
// tries again.
func TestNoEffectIsCommittedWithoutItsRecord(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			s := newService("service", withExecutor, b.connect(inMode(server, mode)))
			s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
				if p != afterWrite || s.runs.Load() != 1 {
					return nil
				}
				schema := b.schema() + "_tenant"
				b.exec("CREATE SCHEMA " + schema + "; CREATE TABLE " + schema + ".idempotency_records (LIKE idempotency_records)")
				return execute(ctx, tx, "SET LOCAL search_path TO "+schema+", "+b.schema())
			}
			require.Equal(t, http.StatusServiceUnavailable, b.post(s, "key").status)
			require.Zero(t, b.transfers("key"))
			require.Equal(t, "service, run 2, attempt 1", b.post(s, "key").body)
			b.check()
		})
	}
}

// A Store whose lease is over cannot renew it while an Executor takes the record over, and is told
// the truth afterward.
func TestRenewWaitsForAnExecutorThatTakesOver(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  idempotent.Completion
		want error
	}{
		{"commit", done("response"), idempotent.ErrLost},
		{"rollback", idempotent.Completion{State: idempotent.StateAbsent}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			waiting := "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = '" + b.schema() + "'"
			old := pgstore.New(b.connect(server.URL("")+"&application_name="+b.schema()), nil)
			c := newClaim()
			_, err := old.Acquire(t.Context(), c)
			require.NoError(t, err)
			b.advance(2 * lease)
			renewed := make(chan error, 1)
			d, err := pgstore.NewExecutor(b.pool, nil).Execute(t.Context(), rival(c), func(context.Context, int) idempotent.Completion {
				go func() { renewed <- old.Renew(t.Context(), c.Owner(), lease) }()
				eventually(t, func() bool { return b.count(waiting) > 0 }, "Renew waits")
				return tt.end
			})
			require.NoError(t, err)
			require.Equal(t, 2, d.Attempt)
			require.ErrorIs(t, receive(t, renewed), tt.want)
		})
	}
}

func TestTimeoutsApplyToTheTransaction(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	const year = 365 * 24 * time.Hour // more than PostgreSQL accepts
	for _, tt := range []struct {
		options pgstore.Options
		want    string
	}{
		{pgstore.Options{}, "1min, 0, 0"},
		{pgstore.Options{IdleTimeout: -1}, "0, 0, 0"},
		{pgstore.Options{IdleTimeout: 3 * time.Second, StatementTimeout: 2 * time.Second, LockTimeout: 1500 * time.Millisecond}, "3s, 2s, 1500ms"},
		{pgstore.Options{IdleTimeout: year, StatementTimeout: year, LockTimeout: 1}, "2147483647ms, 2147483647ms, 1ms"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			var got string
			_, err := pgstore.NewExecutor(b.pool, &tt.options).Execute(t.Context(), newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
				err := pgstore.Tx(ctx).QueryRow(ctx, `SELECT concat_ws(', ', current_setting('idle_in_transaction_session_timeout'),
					current_setting('statement_timeout'), current_setting('lock_timeout'))`).Scan(&got)
				require.NoError(t, err)
				return done("response")
			})
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}
