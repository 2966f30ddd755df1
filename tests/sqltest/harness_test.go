package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	ncruces "github.com/ncruces/go-sqlite3/driver"
	"github.com/stretchr/testify/require"
	modernc "modernc.org/sqlite"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/pgtest"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// backends are the drivers, and the ways in which those of PostgreSQL send statements.
var backends = []struct {
	name    string
	dialect sqlstore.Dialect
	open    func(dsn string) (driver.Connector, error)
	options string
}{
	{"pgx", sqlstore.PostgreSQL, openPgx, ""},
	{"pgx simple protocol", sqlstore.PostgreSQL, openPgx, "&default_query_exec_mode=simple_protocol"},
	{"pq", sqlstore.PostgreSQL, openPq, ""},
	{"pq binary parameters", sqlstore.PostgreSQL, openPq, "&binary_parameters=yes"},
	{"modernc", sqlstore.SQLite, openModernc, ""},
	{"ncruces", sqlstore.SQLite, openNcruces, ""},
}

func openPgx(dsn string) (driver.Connector, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	return stdlib.GetConnector(*config), nil
}

func openPq(dsn string) (driver.Connector, error)      { return pq.NewConnector(dsn) }
func openModernc(dsn string) (driver.Connector, error) { return modernc.NewConnector(dsn) }
func openNcruces(dsn string) (driver.Connector, error) {
	return new(ncruces.SQLite).OpenConnector(dsn)
}

// database is an empty database with the tables of a store.
type database struct {
	*sql.DB
	dialect   sqlstore.Dialect
	dsn       string
	connector *connector
}

// each calls f for each backend, in a parallel subtest. f gets a function that makes databases.
// If backends are named, only those are used.
func each(t *testing.T, f func(t *testing.T, open func(t testing.TB) *database), names ...string) {
	t.Helper()
	server := shared.use(t)
	for _, b := range backends {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			f(t, func(t testing.TB) *database {
				t.Helper()
				dsn := sqliteFile(t)
				if b.dialect == sqlstore.PostgreSQL {
					dsn = newSchema(t, server) + b.options
				}
				db := connect(t, b.open, dsn, b.dialect)
				require.NoError(t, sqlstore.Migrate(t.Context(), db.DB, b.dialect, nil))
				return db
			})
		})
	}
}

// connect opens a database until the test ends.
func connect(t testing.TB, open func(dsn string) (driver.Connector, error), dsn string, d sqlstore.Dialect) *database {
	t.Helper()
	inner, err := open(dsn)
	require.NoError(t, err)
	c := &connector{Connector: inner}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { _ = db.Close() })
	return &database{DB: db, dialect: d, dsn: dsn, connector: c}
}

// sqliteFile returns the DSN of a new file.
func sqliteFile(t testing.TB) string {
	return "file:" + filepath.Join(t.TempDir(), "test.db") +
		"?_pragma=busy_timeout(50)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)"
}

// sharedServer is a server that runs while tests use it.
type sharedServer struct {
	mu     sync.Mutex
	users  int
	server *pgtest.Server
	admin  *sql.DB
	dir    string
}

var shared sharedServer

// use returns the server until the test ends.
func (s *sharedServer) use(t testing.TB) *sharedServer {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		s.start(t)
	}
	s.users++
	t.Cleanup(s.leave)
	return s
}

func (s *sharedServer) start(t testing.TB) {
	t.Helper()
	var err error
	s.dir, err = os.MkdirTemp("", "sqltest") //nolint:usetesting // it outlives the test
	require.NoError(t, err)
	s.server, err = pgtest.Launch(s.dir, "max_connections = 500")
	require.NoError(t, err)
	s.admin, err = sql.Open("pgx", s.server.URL(""))
	require.NoError(t, err)
}

func (s *sharedServer) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		_ = s.admin.Close()
		s.server.StopImmediately()
		_ = os.RemoveAll(s.dir)
	}
}

var schemas atomic.Int64

// newSchema returns the URL of a new schema.
func newSchema(t testing.TB, s *sharedServer) string {
	t.Helper()
	schema := fmt.Sprintf("test%d", schemas.Add(1))
	_, err := s.admin.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	return s.server.URL("") + "&search_path=" + schema
}

// exec runs a statement.
func (db *database) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), query, args...)
	require.NoError(t, err)
}

// advance moves the clock.
func (db *database) advance(d time.Duration) { db.connector.moved.Add(int64(d / time.Second)) }

// count returns the number of rows of a table.
func (db *database) count(t testing.TB, table string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(context.Background(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func newClaim() idempotent.Claim {
	return idempotent.Claim{
		ID:          new(idempotent.Options).ID("principal", idempotent.NewToken().String()),
		Scope:       idempotent.ID{1},
		Token:       idempotent.NewToken(),
		Fingerprint: idempotent.Fingerprint{2},
		Lease:       30 * time.Second,
		Retention:   time.Hour,
	}
}

// rival returns the claim of a duplicate.
func rival(c idempotent.Claim) idempotent.Claim {
	c.Token = idempotent.NewToken()
	return c
}
