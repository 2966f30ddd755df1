package pgstore_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		runChild()
		return
	}
	leakcheck.Main(m)
}

// patience bounds how long a test waits for a server or a process.
const patience = 20 * time.Second

// eventually waits until ok returns true.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "not reached: "+what)
		}
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

// shared is a server that tests use which do not harm it. It ends with the last of them.
var shared struct {
	sync.Mutex
	users  int
	dir    string
	server *pgtest.Server
}

// sharedServer returns the shared server. It starts only once if tests call this before
// t.Parallel.
func sharedServer(t testing.TB) *pgtest.Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.users == 0 {
		var err error
		shared.dir, err = os.MkdirTemp("", "pgstore") //nolint:usetesting // it outlives this test
		require.NoError(t, err)
		shared.server, err = pgtest.Launch(shared.dir, "max_connections = 500")
		require.NoError(t, err)
	}
	shared.users++
	t.Cleanup(func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.users--; shared.users == 0 {
			shared.server.StopImmediately()
			require.NoError(t, os.RemoveAll(shared.dir))
		}
	})
	return shared.server
}

var schemas atomic.Int64

// newPool returns a pool whose connections use a new schema, with the tables of a store and a clock
// that advance moves: the function clock_timestamp of the schema hides that of PostgreSQL.
func newPool(t testing.TB, url string, change ...func(*pgxpool.Config)) (pool *pgxpool.Pool, advance func(time.Duration)) {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	schema := fmt.Sprintf("test%d", schemas.Add(1))
	config.ConnConfig.RuntimeParams["search_path"] = schema + ", pg_catalog"
	for _, f := range change {
		f(config)
	}
	pool, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	exec := func(sql string) {
		_, err := pool.Exec(context.Background(), sql)
		require.NoError(t, err)
	}
	exec("CREATE SCHEMA " + schema)
	exec(`CREATE TABLE clock (moved interval NOT NULL); INSERT INTO clock VALUES ('0');
		CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
		AS 'SELECT pg_catalog.clock_timestamp() + moved FROM clock'`)
	require.NoError(t, pgstore.Migrate(t.Context(), pool, nil))
	return pool, func(d time.Duration) {
		exec(fmt.Sprintf("UPDATE clock SET moved = moved + interval '%d microseconds'", d.Microseconds()))
	}
}
