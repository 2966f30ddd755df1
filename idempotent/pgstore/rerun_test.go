package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// InTx goes back to its savepoint, so the transaction is intact when the handler returns the error.
func TestSerializationFailureInInTxRunsAgain(t *testing.T) {
	t.Parallel()
	pool, _ := newPool(t, pgtest.Start(t).URL(""))
	_, err := pool.Exec(t.Context(), "CREATE TABLE accounts (cents int); INSERT INTO accounts VALUES (0)")
	require.NoError(t, err)
	executor := pgstore.NewExecutor(pool, &pgstore.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}})
	add := func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE accounts SET cents = cents + 1")
		return err
	}

	runs := 0
	claim := idempotent.Claim{ID: idempotent.ID{1}, Token: idempotent.NewToken(), Lease: time.Minute, Retention: time.Hour}
	_, err = executor.Execute(t.Context(), claim, func(ctx context.Context, _ int) idempotent.Completion {
		if runs++; runs == 1 { // another transaction commits after the snapshot of this one
			require.NoError(t, pgx.BeginFunc(t.Context(), pool, add))
		}
		if pgstore.InTx(ctx, pool, add) != nil {
			return idempotent.Completion{State: idempotent.StateAbsent}
		}
		return idempotent.Response{Status: 200}.Completion(time.Hour)
	})
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	var cents int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT cents FROM accounts").Scan(&cents))
	require.Equal(t, 2, cents)
}
