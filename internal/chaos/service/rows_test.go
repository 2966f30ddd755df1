package service_test

import (
	"database/sql"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// rows returns the runs that have made a row.
func (f *fixture) rows(key string) (runs []string) {
	f.Helper()
	driver, source := "sqlite", f.config.Addrs[0]
	if f.config.Store == stores.PostgreSQL {
		driver, source = "pgx", "postgres://postgres@"+source+"/postgres"
	}
	db, err := sql.Open(driver, source)
	require.NoError(f, err)
	defer db.Close()
	rows, err := db.QueryContext(f.Context(), "SELECT run FROM effects WHERE key = $1", key)
	require.NoError(f, err)
	defer rows.Close()
	for rows.Next() {
		var run string
		require.NoError(f, rows.Scan(&run))
		runs = append(runs, run)
	}
	require.NoError(f, rows.Err())
	return runs
}
