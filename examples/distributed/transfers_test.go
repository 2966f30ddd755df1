package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// createBank creates a database with the tables of the service, and returns its URL. The database
// postgres exists.
func createBank(t *testing.T, server *pgtest.Server, database string) (url string) {
	t.Helper()
	if database != "postgres" {
		_, err := server.SQL("CREATE DATABASE " + database)
		require.NoError(t, err)
	}
	pool, err := pgxpool.New(t.Context(), server.URL(database))
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), tables)
	require.NoError(t, err)
	return server.URL(database)
}

func openBank(t *testing.T, url string) *transfers {
	t.Helper()
	s, err := openTransfers(t.Context(), "A", url, slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// post sends a transfer of acct_alice. An empty key is not sent.
func post(h http.Handler, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/transfers", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+keyOfAlice)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func count(t *testing.T, pool *pgxpool.Pool, sql string) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func TestTransfers(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)

	t.Run("WithoutKey", func(t *testing.T) {
		t.Parallel()
		s := openBank(t, createBank(t, server, "without_key"))
		require.Equal(t, http.StatusCreated, post(s.handler(), "", `{"to":"acct_bob","cents":100,"reference":"r"}`).Code)
		require.Equal(t, http.StatusPaymentRequired, post(s.handler(), "", `{"to":"acct_bob","cents":90000000,"reference":"r"}`).Code)
		require.Equal(t, 1, count(t, s.pool, "SELECT count(*) FROM transfers"))
		require.Equal(t, opening-100, count(t, s.pool, "SELECT cents FROM accounts WHERE id = 'acct_alice'"))
		require.Zero(t, count(t, s.pool, "SELECT count(*) FROM idempotency_records"))
	})

	t.Run("RunAgainAfterASerializationFailure", func(t *testing.T) {
		t.Parallel()
		pool := openBank(t, createBank(t, server, "serialization")).pool
		store := pgstore.NewExecutor(pool, &pgstore.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}})
		s := &transfers{name: "A", pool: pool, store: store, logger: slog.New(slog.DiscardHandler)}
		other, err := s.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = other.Exec(t.Context(), "UPDATE accounts SET cents = cents + 1 WHERE id = 'acct_bob'")
		require.NoError(t, err)
		committed := make(chan error, 1)
		go func() {
			_ = awaitUpdate(t.Context(), s.pool)
			committed <- other.Commit(context.Background())
		}()
		w := post(s.handler(), "key", `{"to":"acct_bob","cents":100,"reference":"r"}`)
		require.NoError(t, <-committed)
		require.Equal(t, http.StatusCreated, w.Code, w.Body)
		require.Equal(t, 1, count(t, s.pool, "SELECT count(*) FROM transfers"))
		require.Equal(t, 2, count(t, s.pool, "SELECT last_value FROM transfers_id_seq"), "it ran twice")
	})

	t.Run("AreSwept", func(t *testing.T) {
		t.Parallel()
		s := openBank(t, createBank(t, server, "swept"))
		require.Equal(t, http.StatusCreated, post(s.handler(), "key", `{"to":"acct_bob","cents":100,"reference":"r"}`).Code)
		_, err := s.pool.Exec(t.Context(), "UPDATE idempotency_records SET expires_at = now()")
		require.NoError(t, err)
		go sweep(t.Context(), s.store, time.Millisecond, s.logger)
		require.Eventually(t, func() bool {
			return count(t, s.pool, "SELECT count(*) FROM idempotency_records") == 0
		}, 10*time.Second, 10*time.Millisecond)
	})
}
