package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// sqliteDrivers are the drivers of SQLite.
var sqliteDrivers = map[string]func(dsn string) (driver.Connector, error){
	"modernc": openModernc,
	"ncruces": openNcruces,
}

// The journal modes of SQLite.
const (
	wal      = "WAL"
	rollback = "DELETE"
)

// eachSQLite calls f for each driver and journal mode, in a parallel subtest with an empty bank.
func eachSQLite(t *testing.T, f func(t *testing.T, b *bank), modes ...string) {
	t.Helper()
	if len(modes) == 0 {
		modes = []string{wal, rollback}
	}
	for name := range sqliteDrivers {
		for _, mode := range modes {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				f(t, newBank(t, name, mode))
			})
		}
	}
}

// A bank is what handlers change: accounts, and the transfers between them. It remembers what its
// clients saw.
type bank struct {
	*testing.T
	driver string
	path   string // of the file
	mode   string
	db     *database // for the test, without faults

	mu        sync.Mutex
	succeeded map[string]bool // by the key of a client
}

// opening is the first balance of both accounts, and amount that of a transfer, in cents.
const opening, amount = 1_000_00, 12_34

// bankSchema makes the tables of a bank.
var bankSchema = []string{
	"CREATE TABLE accounts (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL)",
	"CREATE TABLE transfers (key TEXT NOT NULL, cents INTEGER NOT NULL)",
	fmt.Sprintf("INSERT INTO accounts VALUES (1, %d), (2, %d)", opening, opening),
}

// newBank returns a bank in a new file, with the tables of a store.
func newBank(t *testing.T, driver, mode string) *bank {
	t.Helper()
	b := &bank{T: t, driver: driver, path: filepath.Join(t.TempDir(), "bank.db"), mode: mode, succeeded: make(map[string]bool)}
	b.db = b.connect()
	require.NoError(t, sqlstore.Migrate(t.Context(), b.db.DB, sqlstore.SQLite, nil))
	for _, statement := range bankSchema {
		b.db.exec(t, statement)
	}
	return b
}

// The settings that docs recommend, but for synchronous=FULL: a test that does not cut the power
// is faster without.
const settings = "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=synchronous(OFF)"

// dsn returns the DSN of the bank's file.
func (b *bank) dsn(settings string) string {
	return "file:" + b.path + "?" + settings + "&_pragma=journal_mode(" + b.mode + ")"
}

// connect returns another pool. Its settings are those of each connection.
func (b *bank) connect(other ...string) *database {
	b.Helper()
	dsn := b.dsn(settings)
	if len(other) > 0 {
		dsn = b.dsn(other[0])
	}
	return connect(b.T, sqliteDrivers[b.driver], dsn, sqlstore.SQLite)
}

// transfers returns the number of committed transfers of a key.
func (b *bank) transfers(key string) (n int) {
	b.Helper()
	require.NoError(b, b.db.QueryRowContext(context.Background(), "SELECT count(*) FROM transfers WHERE key = ?1", key).Scan(&n))
	return n
}

// settle resolves an unknown outcome after it has found out that the transfer is committed.
func (b *bank) settle(s *service, key string) {
	b.Helper()
	require.Equal(b, 1, b.transfers(key))
	completion := idempotent.Response{Status: http.StatusCreated, Body: []byte("settled")}.Completion(time.Hour)
	store := sqlstore.New(b.db.DB, sqlstore.SQLite, nil)
	require.NoError(b, store.Resolve(b.Context(), s.guard.ID(idempotent.GlobalPrincipal, key), completion))
	require.Equal(b, response{http.StatusCreated, "settled", true, "", nil}, b.post(s, key))
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
	require.Equal(b, want, readLedger(b, b.db.DB), "transfers by key")
}

// readLedger returns the number of transfers by key, after it has checked the balances and the
// file.
func readLedger(t testing.TB, db *sql.DB) map[string]int {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "SELECT key, count(*) FROM transfers GROUP BY key")
	require.NoError(t, err)
	defer rows.Close()
	ledger, all := make(map[string]int), 0
	for rows.Next() {
		var (
			key string
			n   int
		)
		require.NoError(t, rows.Scan(&key, &n))
		ledger[key] = n
		all += n
	}
	require.NoError(t, rows.Err())
	var source, target int
	balances := "SELECT (SELECT cents FROM accounts WHERE id = 1), (SELECT cents FROM accounts WHERE id = 2)"
	require.NoError(t, db.QueryRowContext(context.Background(), balances).Scan(&source, &target))
	require.Equal(t, []int{opening - all*amount, opening + all*amount}, []int{source, target}, "balances")
	var intact string
	require.NoError(t, db.QueryRowContext(context.Background(), "PRAGMA integrity_check").Scan(&intact))
	require.Equal(t, "ok", intact)
	return ledger
}

// response is what a client gets, or an error.
type response struct {
	status     int
	body       string
	replayed   bool
	retryAfter string
	err        error
}

func (b *bank) saw(key string, r response) response {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.succeeded[key] = b.succeeded[key] || r.err == nil && r.status < 300
	return r
}

func newRequest(ctx context.Context, url, key string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("body"))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Idempotency-Key", key)
	return r
}

// post asks a handler of this process for a transfer.
func (b *bank) post(h http.Handler, key string) response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, newRequest(b.Context(), "/", key))
	return b.saw(key, response{w.Code, w.Body.String(), w.Header().Get("Idempotent-Replayed") == "true", w.Header().Get("Retry-After"), nil})
}

// postUntil retries until the response has a status.
func (b *bank) postUntil(h http.Handler, key string, status int) (r response) {
	b.Helper()
	eventually(b, func() bool { r = b.post(h, key); return r.status == status }, fmt.Sprint("status ", status, " for ", key))
	return r
}

// postTo asks another process for a transfer. The response comes on the channel.
func (b *bank) postTo(url, key string) <-chan response {
	got := make(chan response, 1)
	go func() { got <- b.saw(key, send(newRequest(b.Context(), url, key))) }()
	return got
}

func send(r *http.Request) response {
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return response{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{
		resp.StatusCode, string(body), resp.Header.Get("Idempotent-Replayed") == "true", resp.Header.Get("Retry-After"), err,
	}
}

// receive receives a value in time.
func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		require.FailNow(t, "nothing comes")
	}
	return v
}
