package pgstore_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// A bank is what handlers change: accounts, and the transfers between them. It remembers what its
// clients saw.
type bank struct {
	*testing.T
	url  string        // of the server
	pool *pgxpool.Pool // for the test, without faults

	advance func(time.Duration) // moves the clock of the store

	mu        sync.Mutex
	succeeded map[string]bool // by the key of a client
}

// opening is the first balance of the accounts 1 to 4, and amount that of a transfer, in cents.
const opening, amount = 1_000_00, 12_34

// newBank returns a bank in its own schema, with the tables of a store.
func newBank(t *testing.T, url string) *bank {
	t.Helper()
	pool, advance := newPool(t, url)
	b := &bank{T: t, url: url, pool: pool, advance: advance, succeeded: make(map[string]bool)}
	b.exec(`CREATE TABLE accounts (id integer PRIMARY KEY, cents bigint NOT NULL);
		CREATE TABLE transfers (key text NOT NULL, source integer NOT NULL, target integer NOT NULL, cents bigint NOT NULL);
		INSERT INTO accounts SELECT id, ` + fmt.Sprint(opening) + ` FROM generate_series(1, 4) AS id`)
	return b
}

// searchPath returns the parameter with which a connection uses the schema of the bank.
func (b *bank) searchPath() string {
	return b.pool.Config().ConnConfig.RuntimeParams["search_path"]
}

// schema returns the name of the schema.
func (b *bank) schema() string {
	name, _, _ := strings.Cut(b.searchPath(), ",")
	return name
}

// connect returns a pool for a service. The URL may be that of a proxy.
func (b *bank) connect(url string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	b.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(b, err)
	config.ConnConfig.RuntimeParams["search_path"] = b.searchPath()
	config.MaxConns = 10
	for _, f := range change {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	return pool
}

// exec runs statements without faults.
func (b *bank) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.pool.Exec(context.Background(), sql, args...)
	require.NoError(b, err)
}

// count returns the number that a query selects.
func (b *bank) count(sql string, args ...any) (n int) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// transfers returns the number of committed transfers of a key.
func (b *bank) transfers(key string) int {
	b.Helper()
	return b.count("SELECT count(*) FROM transfers WHERE key = $1", key)
}

// settle resolves an unknown outcome after it has found out that the transfer is committed.
func (b *bank) settle(s *service, key string) {
	b.Helper()
	require.Equal(b, 1, b.transfers(key))
	completion := idempotent.Response{Status: http.StatusCreated, Body: []byte("settled")}.Completion(time.Hour)
	require.NoError(b, pgstore.New(b.pool, nil).Resolve(b.Context(), s.guard.ID(idempotent.GlobalPrincipal, key), completion))
	require.Equal(b, response{http.StatusCreated, "settled", true, nil}, b.post(s, key))
}

// check is what must hold after every fault: one transfer for each key whose client saw a success,
// none for any other, and balances to the cent.
func (b *bank) check() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	want := make(map[string]int)
	for key, succeeded := range b.succeeded {
		if succeeded {
			want[key] = 1
		}
	}
	rows, _ := b.pool.Query(context.Background(), "SELECT key, count(*) FROM transfers GROUP BY key")
	got := make(map[string]int)
	var (
		key string
		n   int
	)
	_, err := pgx.ForEachRow(rows, []any{&key, &n}, func() error { got[key] = n; return nil })
	require.NoError(b, err)
	require.Equal(b, want, got, "transfers by key")
	require.Zero(b, b.count(`SELECT count(*) FROM accounts AS a WHERE cents <> $1
		- (SELECT coalesce(sum(cents), 0) FROM transfers WHERE source = a.id)
		+ (SELECT coalesce(sum(cents), 0) FROM transfers WHERE target = a.id)`, opening), "accounts with another balance")
	require.Equal(b, 4*opening, b.count("SELECT sum(cents) FROM accounts"))
}

// response is what a client gets, or an error.
type response struct {
	status   int
	body     string
	replayed bool
	err      error
}

func (b *bank) saw(key string, r response) response {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.succeeded[key] = b.succeeded[key] || r.err == nil && r.status < 300
	return r
}

// path asks for a transfer from account 1 to account 2.
const path = "/transfers/1/2"

// post asks a handler of this process for a transfer.
func (b *bank) post(h http.Handler, key string) response {
	b.Helper()
	return b.postPath(h, path, key)
}

func (b *bank) postPath(h http.Handler, path, key string) response {
	b.Helper()
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, path, strings.NewReader("body"))
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return b.saw(key, response{w.Code, w.Body.String(), w.Header().Get("Idempotent-Replayed") == "true", nil})
}

// postUntil retries until the response has a status.
func (b *bank) postUntil(h http.Handler, key string, status int) (r response) {
	b.Helper()
	eventually(b, func() bool { r = b.post(h, key); return r.status == status }, fmt.Sprint("status ", status, " for ", key))
	return r
}

// postTo asks another process for a transfer. The response comes on the channel.
func (b *bank) postTo(url, key string) <-chan response {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+path, strings.NewReader("body"))
	require.NoError(b, err)
	r.Header.Set("Idempotency-Key", key)
	got := make(chan response, 1)
	go func() {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			got <- b.saw(key, response{err: err})
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		got <- b.saw(key, response{resp.StatusCode, string(body), resp.Header.Get("Idempotent-Replayed") == "true", err})
	}()
	return got
}
