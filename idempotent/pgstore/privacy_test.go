package pgstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// secrets are in the requests of secretRequest. None of them reaches the database.
var secrets = []string{"the-key", "the-body", "the-other-body", "the-header", "the-principal", "the-path", "the-query"}

func secretRequest(t *testing.T, h http.Handler, key, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/the-path?the-query", strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Authorization", "the-header")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// dump returns everything that is in the tables of a store.
func (b *bank) dump() string {
	b.Helper()
	var all strings.Builder
	for _, table := range []string{"idempotency_records", "idempotency_leases"} {
		rows, err := b.pool.Query(context.Background(), "SELECT * FROM "+table)
		require.NoError(b, err)
		for rows.Next() {
			values, err := rows.Values()
			require.NoError(b, err)
			for _, v := range values {
				if bytes, ok := v.([]byte); ok {
					v = string(bytes)
				}
				fmt.Fprintln(&all, v)
			}
		}
		require.NoError(b, rows.Err())
	}
	return all.String()
}

// Of the requests, only the recorded response reaches the database. Errors of the database disclose
// nothing of them either.
func TestDatabaseSeesNoKeyAndNoRequest(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			pool := b.connect(server.URL("") + "&default_query_exec_mode=" + mode)
			for name, store := range map[string]idempotent.Store{"Store": pgstore.New(pool, nil), "Executor": pgstore.NewExecutor(pool, nil)} {
				var (
					mu   sync.Mutex
					seen bytes.Buffer // errors and logs
				)
				o := &idempotent.Options{
					Namespace: name,
					Wait:      -1,
					Logger:    slog.New(slog.NewTextHandler(&seen, nil)),
					Observe: func(_ context.Context, e idempotent.Event) {
						mu.Lock()
						defer mu.Unlock()
						fmt.Fprintln(&seen, e.Err)
					},
				}
				var during string
				scope := func(*http.Request) (string, error) { return "the-principal", nil }
				h := idempotent.New(store, scope, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := idempotent.BeginEffect(r.Context()); err != nil && name == "Store" {
						t.Error(err)
					}
					during = b.dump()
					w.WriteHeader(http.StatusCreated)
					_, _ = w.Write([]byte("the-response"))
				}))
				require.Equal(t, http.StatusCreated, secretRequest(t, h, "the-key", "the-body").Code)
				require.Equal(t, "the-response", secretRequest(t, h, "the-key", "the-body").Body.String())
				require.Equal(t, http.StatusConflict, secretRequest(t, h, "the-key", "the-other-body").Code)
				dump := b.dump()
				require.Contains(t, dump, "the-response")

				b.exec("ALTER TABLE idempotency_records ADD CONSTRAINT broken CHECK (attempt > 1) NOT VALID")
				require.Equal(t, http.StatusServiceUnavailable, secretRequest(t, h, "the-key-2", "the-body").Code)
				b.exec("ALTER TABLE idempotency_records DROP CONSTRAINT broken")
				b.exec("ALTER TABLE idempotency_records RENAME TO gone")
				require.Equal(t, http.StatusServiceUnavailable, secretRequest(t, h, "the-key", "the-body").Code)
				b.exec("ALTER TABLE gone RENAME TO idempotency_records")
				require.Contains(t, seen.String(), "pgstore: ")
				if name == "Executor" { // whose calls are not repeated until they time out
					require.Contains(t, seen.String(), "SQLSTATE 23514")
					require.Contains(t, seen.String(), "SQLSTATE 42P01")
				}
				for _, secret := range secrets {
					require.NotContains(t, during+dump+seen.String(), secret)
				}
			}
		})
	}
}

// A full disk is told apart from other failures. PostgreSQL reports it for each statement that
// needs room.
func TestFullDiskIsErrFull(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	store, executor := pgstore.New(b.pool, nil), pgstore.NewExecutor(b.pool, nil)
	c := newClaim()
	d, err := store.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
	b.exec(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$`)
	b.exec(`CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON idempotency_records
		FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	_, err = store.Acquire(t.Context(), newClaim())
	require.ErrorIs(t, err, idempotent.ErrFull)
	_, err = executor.Execute(t.Context(), newClaim(), func(context.Context, int) idempotent.Completion {
		return done("response")
	})
	require.ErrorIs(t, err, idempotent.ErrFull)
	require.ErrorIs(t, store.Finish(t.Context(), c.Owner(), done("response")), idempotent.ErrFull)

	b.exec("DROP TRIGGER full_disk ON idempotency_records")
	require.NoError(t, store.Finish(t.Context(), c.Owner(), done("response")))
}
