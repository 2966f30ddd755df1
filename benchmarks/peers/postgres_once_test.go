package peers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// pgOnce is a way to make a transfer only once for a key.
type pgOnce struct {
	name string
	open func(pool *pgxpool.Pool) http.Handler
}

// pgOnces are the ways of pgstore and sqlstore, a table of keys by hand, and the transfer without
// idempotency.
var pgOnces = []pgOnce{
	{"seawall", func(pool *pgxpool.Pool) http.Handler {
		return guard(pgstore.NewExecutor(pool, nil))(answering(func(ctx context.Context) error {
			return transferIn(ctx, pgstore.Tx(ctx))
		}))
	}},
	{"intx", func(pool *pgxpool.Pool) http.Handler {
		return guard(pgstore.NewExecutor(pool, nil))(answering(func(ctx context.Context) error {
			return pgstore.InTx(ctx, pool, func(tx pgx.Tx) error { return transferIn(ctx, tx) })
		}))
	}},
	{"sqlstore", func(pool *pgxpool.Pool) http.Handler {
		executor := sqlstore.NewExecutor(stdlib.OpenDBFromPool(pool), sqlstore.PostgreSQL, nil)
		return guard(executor)(answering(func(ctx context.Context) error {
			return transfer(func(sql string, args ...any) error {
				_, err := sqlstore.Tx(ctx).ExecContext(ctx, sql, args...)
				return err
			})
		}))
	}},
	{"finishtx", func(pool *pgxpool.Pool) http.Handler {
		store := pgstore.New(pool, nil)
		response := idempotent.Response{
			Status: http.StatusCreated,
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   kilobyte,
		}
		return guard(store)(answering(inTransaction(pool, func(ctx context.Context, tx pgx.Tx) error {
			return store.FinishTx(ctx, tx, response)
		})))
	}},
	{"begineffecttx", func(pool *pgxpool.Pool) http.Handler {
		store := pgstore.New(pool, nil)
		return guard(store)(answering(inTransaction(pool, store.BeginEffectTx)))
	}},
	{"leased", func(pool *pgxpool.Pool) http.Handler {
		return guard(pgstore.New(pool, nil))(answering(inTransaction(pool, nil)))
	}},
	{"byhand", func(pool *pgxpool.Pool) http.Handler { return byHand{pool} }},
	{"bare", func(pool *pgxpool.Pool) http.Handler { return answering(inTransaction(pool, nil)) }},
}

// inTransaction makes a transfer in a transaction of the pool, and calls last before the commit.
func inTransaction(pool *pgxpool.Pool, last func(context.Context, pgx.Tx) error) func(context.Context) error {
	return func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			err := transferIn(ctx, tx)
			if err == nil && last != nil {
				err = last(ctx, tx)
			}
			return err
		})
	}
}

// answering does a job and answers.
func answering(job func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := job(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		created(w, r)
	})
}

// byHand keeps the keys and the answers in another table, in the transaction of the transfer. A
// duplicate waits in its INSERT until the transaction has ended.
type byHand struct{ pool *pgxpool.Pool }

func (h byHand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, key, sum := r.Context(), r.Header.Get("Idempotency-Key"), sha256.Sum256(body)
	tx, err := h.pool.Begin(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	switch err := h.run(ctx, tx, key, sum[:]); {
	case errors.Is(err, errKnown):
		h.replay(ctx, w, tx, key, sum[:])
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		created(w, r)
	}
}

var errKnown = errors.New("the key is known")

func (h byHand) run(ctx context.Context, tx pgx.Tx, key string, sum []byte) error {
	tag, err := tx.Exec(ctx, "INSERT INTO keys (key, sum) VALUES ($1, $2) ON CONFLICT DO NOTHING", key, sum)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return errKnown
	}
	if err := transferIn(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE keys SET status = $2, body = $3 WHERE key = $1", key, http.StatusCreated, kilobyte); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func (h byHand) replay(ctx context.Context, w http.ResponseWriter, tx pgx.Tx, key string, sum []byte) {
	var (
		status     int
		kept, body []byte
	)
	switch err := tx.QueryRow(ctx, "SELECT sum, status, body FROM keys WHERE key = $1", key).Scan(&kept, &status, &body); {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case !bytes.Equal(kept, sum):
		http.Error(w, "the key was used with another request", http.StatusConflict)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write(body)
	}
}

func pgFirstRuns() (sides []pgSide) {
	for _, o := range pgOnces {
		sides = append(sides, pgSide{o.name, func(pool *pgxpool.Pool) func(testing.TB) func() {
			handler := o.open(pool)
			return func(tb testing.TB) func() {
				send := overHTTP(tb, handler)
				return func() { requireCreated(tb, send, uuid.NewString()) }
			}
		}})
	}
	return sides
}

// pgReplays are the sides of which a replay differs from one another. The lower bound reads the
// response, and nothing else.
func pgReplays() (sides []pgSide) {
	for _, o := range pgOnces {
		if !slices.Contains([]string{"seawall", "sqlstore", "leased", "byhand"}, o.name) {
			continue
		}
		sides = append(sides, pgSide{o.name, func(pool *pgxpool.Pool) func(testing.TB) func() {
			handler, key := o.open(pool), uuid.NewString()
			return func(tb testing.TB) func() {
				send := overHTTP(tb, handler)
				return func() { requireCreated(tb, send, key) }
			}
		}})
	}
	return append(sides, pgSide{"bare", func(pool *pgxpool.Pool) func(testing.TB) func() {
		return func(tb testing.TB) func() {
			require.NoError(tb, byHand{pool}.insert(tb.Context(), "key"))
			var body []byte
			return func() {
				err := pool.QueryRow(tb.Context(), "SELECT body FROM keys WHERE key = $1", "key").Scan(&body)
				require.NoError(tb, err)
			}
		}
	}})
}

// insert makes a key known.
func (h byHand) insert(ctx context.Context, key string) error {
	tx, err := h.pool.Begin(ctx)
	if err != nil {
		return err
	}
	return h.run(ctx, tx, key, []byte{})
}

func requireCreated(tb testing.TB, send sender, key string) {
	if status, body := send(key, kilobyte); status != http.StatusCreated {
		tb.Errorf("%d: %s", status, body)
	}
}

func BenchmarkPostgresFirstRun(b *testing.B)  { compareOnPostgres(b, 1, pgFirstRuns()) }
func BenchmarkPostgresFirstRuns(b *testing.B) { compareOnPostgres(b, pgCallers, pgFirstRuns()) }
func BenchmarkPostgresReplay(b *testing.B)    { compareOnPostgres(b, 1, pgReplays()) }

func TestARequestRunsOnceWithPostgres(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for _, o := range pgOnces {
		if o.name == "bare" {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			pool := openDatabase(t, server.URL(""))
			send, key := overHTTP(t, o.open(pool)), uuid.NewString()
			for range 2 {
				status, body := send(key, kilobyte)
				require.Equal(t, http.StatusCreated, status)
				require.Equal(t, string(kilobyte), string(body))
			}
			status, _ := send(key, []byte(`{"name":"another"}`))
			require.Equal(t, http.StatusConflict, status)
			requireTransfers(t, pool, 1)
			status, _ = send(uuid.NewString(), kilobyte)
			require.Equal(t, http.StatusCreated, status)
			requireTransfers(t, pool, 2)
		})
	}
}

func requireTransfers(tb testing.TB, pool *pgxpool.Pool, want int) {
	var n int
	require.NoError(tb, pool.QueryRow(tb.Context(), "SELECT count(*) FROM transfers").Scan(&n))
	require.Equal(tb, want, n)
}
