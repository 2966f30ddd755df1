package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

func TestTimeoutsEndStatementsOfTheHandler(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	pool, _ := newPool(t, server.URL(""))
	_, err := pool.Exec(t.Context(), "CREATE TABLE locked (id int); INSERT INTO locked VALUES (1)")
	require.NoError(t, err)
	blocker, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = blocker.Rollback(context.Background()) }()
	_, err = blocker.Exec(t.Context(), "SELECT FROM locked FOR UPDATE")
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		options   pgstore.Options
		statement string
		code      string
	}{
		"StatementTimeout": {pgstore.Options{StatementTimeout: 50 * time.Millisecond}, "SELECT pg_sleep(60)", "57014"},
		"LockTimeout":      {pgstore.Options{LockTimeout: 50 * time.Millisecond}, "SELECT FROM locked FOR UPDATE", "55P03"},
	} {
		s := pgstore.NewExecutor(pool, &tt.options)
		d, err := s.Execute(t.Context(), newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
			_, err := pgstore.Tx(ctx).Exec(ctx, tt.statement)
			var failure *pgconn.PgError
			require.ErrorAs(t, err, &failure, name)
			require.Equal(t, tt.code, failure.Code, name)
			return idempotent.Response{Status: 409}.Completion(keep)
		})
		require.NoError(t, err)
		require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
		var settings [3]string
		err = pool.QueryRow(t.Context(), `SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
			current_setting('idle_in_transaction_session_timeout')`).Scan(&settings[0], &settings[1], &settings[2])
		require.NoError(t, err)
		require.Equal(t, [3]string{"0", "0", "0"}, settings, "after the transaction")
	}
}
