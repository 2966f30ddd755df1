package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// This file has code and claims of docs/POSTGRES.md that the session does not need.

// leased is the service with a store that has leases.
type leased struct {
	pool  *pgxpool.Pool
	store *pgstore.Store
}

func (s *leased) createAndFinish(w http.ResponseWriter, r *http.Request, t transfer) error {
	var response idempotent.Response
	err := pgx.BeginFunc(r.Context(), s.pool, func(tx pgx.Tx) error {
		if err := t.book(r.Context(), tx); err != nil {
			return err
		}
		body, err := json.Marshal(t)
		if err != nil {
			return err
		}
		response = idempotent.Response{
			Status: http.StatusCreated,
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   body,
		}
		return s.store.FinishTx(r.Context(), tx, response) // right before the commit
	})
	if err != nil {
		return err
	}
	return response.Write(w)
}

func (s *leased) createAfterMark(w http.ResponseWriter, r *http.Request, t transfer) error {
	err := pgx.BeginFunc(r.Context(), s.pool, func(tx pgx.Tx) error {
		if err := t.book(r.Context(), tx); err != nil {
			return err
		}
		return s.store.BeginEffectTx(r.Context(), tx) // right before the commit
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, t)
}

func connectBouncer(ctx context.Context, url, directURL string) (*pgxpool.Pool, *pgstore.Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, err
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	store := pgstore.New(pool, &pgstore.Options{
		Listen: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, directURL) },
	})
	return pool, store, nil
}

func TestStoresOfTheDocs(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for name, c := range map[string]struct {
		create func(*leased, http.ResponseWriter, *http.Request, transfer) error
		retry  int // the status of a retry after a run that has failed after its commit
	}{
		"FinishTx":      {(*leased).createAndFinish, http.StatusCreated},
		"BeginEffectTx": {(*leased).createAfterMark, http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := createBank(t, server, strings.ToLower(name))
			pool, store, err := connectBouncer(t.Context(), url, url)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			require.NoError(t, pgstore.Migrate(t.Context(), pool, nil))
			s := &leased{pool, store}
			fail := false
			handler := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				t := transfer{From: seawall.Principal(r.Context())}
				if err := apierror.DecodeJSON(w, r, &t, nil); err != nil {
					return err
				}
				t.From = seawall.Principal(r.Context())
				if fail {
					_ = c.create(s, httptest.NewRecorder(), r, t)
					return errors.New("the response is lost")
				}
				return c.create(s, w, r, t)
			})
			h := authenticate(idempotent.New(store, idempotent.ByPrincipal, nil)(handler))

			const body = `{"to":"acct_bob","cents":100,"reference":"r"}`
			first, second := post(h, "key-1", body), post(h, "key-1", body)
			require.Equal(t, http.StatusCreated, first.Code, first.Body)
			require.Equal(t, first.Body, second.Body)
			require.Equal(t, "true", second.Header().Get("Idempotent-Replayed"))
			require.Equal(t, http.StatusNotFound, post(h, "key-2", `{"to":"acct_dave","cents":100,"reference":"r"}`).Code)
			require.Equal(t, 1, count(t, pool, "SELECT count(*) FROM transfers"))

			fail = true
			require.Equal(t, http.StatusInternalServerError, post(h, "key-3", body).Code)
			require.Equal(t, c.retry, post(h, "key-3", body).Code)
			require.Equal(t, 2, count(t, pool, "SELECT count(*) FROM transfers"))
		})
	}
}

// sqlOfTheDocs returns the SQL of docs/POSTGRES.md.
func sqlOfTheDocs(t *testing.T) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/POSTGRES.md")
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?ms)^```sql\n(.*?)\n```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, match[1])
	}
	return blocks
}

// The SQL of the docs finds the record, and the transaction that holds its claim.
func TestSQLOfTheDocs(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := createBank(t, server, "postgres")
	s := openBank(t, url)
	blocks := sqlOfTheDocs(t)
	require.Contains(t, blocks, recordQuery("acct_alice", "transfer-2"))
	find := func(part string) string {
		t.Helper()
		i := slices.IndexFunc(blocks, func(b string) bool { return strings.Contains(b, part) })
		require.GreaterOrEqual(t, i, 0, part)
		rows, err := server.SQL(blocks[i])
		require.NoError(t, err, blocks[i])
		return rows
	}
	all := func() {
		for _, b := range blocks {
			if !strings.HasPrefix(b, "CREATE ROLE") {
				_, err := server.SQL(b)
				require.NoError(t, err, b)
			}
		}
	}
	all()

	lock, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), "SELECT FROM accounts WHERE id = 'acct_bob' FOR UPDATE")
	require.NoError(t, err)
	answered := make(chan int, 1)
	go func() {
		answered <- post(s.handler(), "transfer-2", `{"to":"acct_bob","cents":100,"reference":"r"}`).Code
	}()
	require.NoError(t, awaitUpdate(t.Context(), s.pool))
	transactions, pid := find("a.client_addr"), find("SELECT l.pid")
	require.Regexp(t, `^`+pid+`\|127.0.0.1\|active\|.*\|Lock\|\{\d+\}\|UPDATE accounts`, transactions)
	require.Empty(t, find("octet_length(response)\n"))

	require.NoError(t, lock.Rollback(t.Context()))
	require.Equal(t, http.StatusCreated, <-answered)
	require.Empty(t, find("a.client_addr"))
	require.Empty(t, find("SELECT l.pid"))
	require.Regexp(t, `^done\|1\|f\|`, find("octet_length(response)\n"))
	require.Regexp(t, `^done\|1\|0\|\d+ bytes$`, find("AS expired"))
	all()
}

// The role of the docs can use both stores.
func TestRoleOfTheDocs(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := createBank(t, server, "postgres")
	openBank(t, url) // creates the tables
	blocks := sqlOfTheDocs(t)
	i := slices.IndexFunc(blocks, func(b string) bool { return strings.HasPrefix(b, "CREATE ROLE bank ") })
	require.GreaterOrEqual(t, i, 0)
	_, err := server.SQL(blocks[i] + "; GRANT SELECT, INSERT, UPDATE ON accounts, transfers TO bank; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	require.NoError(t, err)

	s := openBank(t, strings.Replace(url, "postgres@", "bank@", 1))
	require.Equal(t, http.StatusCreated, post(s.handler(), "key", `{"to":"acct_bob","cents":100,"reference":"r"}`).Code)
	var role string
	require.NoError(t, s.pool.QueryRow(t.Context(), "SELECT current_user").Scan(&role))
	require.Equal(t, "bank", role)
	_, err = s.store.Sweep(t.Context(), 0)
	require.NoError(t, err)

	store := pgstore.New(s.pool, nil)
	claim := idempotent.Claim{ID: idempotent.ID{1}, Token: idempotent.NewToken(), Lease: time.Hour, Retention: time.Hour}
	_, err = store.Acquire(t.Context(), claim)
	require.NoError(t, err)
	require.NoError(t, store.Renew(t.Context(), claim.Owner(), time.Millisecond))
	require.NoError(t, store.BeginEffect(t.Context(), claim.Owner()))
	require.Eventually(t, func() bool {
		unknown, err := store.ListUnknown(t.Context(), idempotent.ID{}, 0)
		return err == nil && len(unknown) == 1
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, store.Resolve(t.Context(), claim.ID, idempotent.Completion{State: idempotent.StateAbsent}))
}
