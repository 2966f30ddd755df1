package pgstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

var schemas atomic.Int64

// newPool returns a pool whose connections use a schema of their own, with the tables of a store and a
// clock that advance moves: the function clock_timestamp of the schema hides that of PostgreSQL.
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
