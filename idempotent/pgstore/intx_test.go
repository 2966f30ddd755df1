package pgstore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// What fails within InTx is undone, and what was done before and after it stays.
func TestInTxUndoesWhatFails(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	failure := errors.New("a failure")
	for name, tt := range map[string]struct {
		first bool // InTx is the first use of the transaction
		fail  func(ctx context.Context, tx pgx.Tx, cancel func()) error
	}{
		"first, an error":            {true, func(context.Context, pgx.Tx, func()) error { return failure }},
		"later, an error":            {false, func(context.Context, pgx.Tx, func()) error { return failure }},
		"first, a failed statement":  {true, func(ctx context.Context, tx pgx.Tx, _ func()) error { return execute(ctx, tx, "SELECT 1/0") }},
		"later, a failed statement":  {false, func(ctx context.Context, tx pgx.Tx, _ func()) error { return execute(ctx, tx, "SELECT 1/0") }},
		"first, a panic":             {true, func(context.Context, pgx.Tx, func()) error { panic(failure) }},
		"later, a panic":             {false, func(context.Context, pgx.Tx, func()) error { panic(failure) }},
		"first, a context that ends": {true, func(_ context.Context, _ pgx.Tx, cancel func()) error { cancel(); return failure }},
		"later, a context that ends": {false, func(_ context.Context, _ pgx.Tx, cancel func()) error { cancel(); return failure }},
		"first, an error of an inner one": {true, func(ctx context.Context, _ pgx.Tx, _ func()) error {
			return pgstore.InTx(ctx, nil, func(pgx.Tx) error { return failure })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, _ := newPool(t, server.URL(""))
			_, err := pool.Exec(t.Context(), "CREATE TABLE effects (name text)")
			require.NoError(t, err)
			s, c := pgstore.NewExecutor(pool, nil), newClaim()
			insert := func(ctx context.Context, tx pgx.Tx, effect string) {
				_, err := tx.Exec(ctx, "INSERT INTO effects VALUES ($1)", effect)
				require.NoError(t, err)
			}

			d, err := s.Execute(t.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
				if !tt.first {
					insert(ctx, pgstore.Tx(ctx), "before")
				}
				func() {
					defer func() { _ = recover() }()
					canceled, cancel := context.WithCancel(ctx)
					defer cancel()
					require.Error(t, pgstore.InTx(canceled, pool, func(tx pgx.Tx) error {
						insert(ctx, tx, "undone")
						return tt.fail(ctx, tx, cancel)
					}))
				}()
				require.NoError(t, pgstore.InTx(ctx, pool, func(tx pgx.Tx) error {
					insert(ctx, tx, "after")
					return nil
				}))
				return done("response")
			})

			require.NoError(t, err)
			require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
			rows, _ := pool.Query(t.Context(), "SELECT name FROM effects ORDER BY name DESC")
			effects, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			want := []string{"before", "after"}
			if tt.first {
				want = want[1:]
			}
			require.Equal(t, want, effects)
			d, err = s.Execute(t.Context(), rival(c), nil)
			require.NoError(t, err)
			require.Equal(t, idempotent.VerdictDone, d.Verdict)
		})
	}
}

func TestExecutorTakesOverALeaseThatIsOver(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	pool, advance := newPool(t, server.URL(""))
	store, executor := pgstore.New(pool, nil), pgstore.NewExecutor(pool, nil)
	c := newClaim()
	_, err := store.Acquire(t.Context(), c)
	require.NoError(t, err)
	d, err := executor.Execute(t.Context(), rival(c), nil)
	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictRunning, d.Verdict)
	require.Positive(t, d.LeaseLeft)
	advance(2 * lease)

	attempts := 0
	run := func(end idempotent.Completion) func(context.Context, int) idempotent.Completion {
		return func(_ context.Context, attempt int) idempotent.Completion {
			attempts = attempt
			return end
		}
	}
	d, err = executor.Execute(t.Context(), rival(c), run(idempotent.Completion{State: idempotent.StateAbsent}))
	require.NoError(t, err)
	require.Equal(t, 2, d.Attempt)
	require.NoError(t, store.Renew(t.Context(), c.Owner(), lease), "a rollback leaves the lease as it was")
	advance(2 * lease)
	d, err = executor.Execute(t.Context(), rival(c), run(done("response")))
	require.NoError(t, err)
	require.Equal(t, 2, d.Attempt)
	require.Equal(t, 2, attempts)

	require.ErrorIs(t, store.Renew(t.Context(), c.Owner(), lease), idempotent.ErrLost)
	require.ErrorIs(t, store.Finish(t.Context(), c.Owner(), done("late")), idempotent.ErrLost)
	d, err = store.Acquire(t.Context(), rival(c))
	require.NoError(t, err)
	require.Equal(t, "response", string(d.Response))
}

// The lock of a record is only about Executors. A Store that shares the tables can be faster.
func TestExecutorGivesWayToARecordThatWasMadeMeanwhile(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	pool, _ := newPool(t, server.URL(""))
	_, err := pool.Exec(t.Context(), "CREATE TABLE effects (name text)")
	require.NoError(t, err)
	store, executor := pgstore.New(pool, nil), pgstore.NewExecutor(pool, nil)
	c := newClaim()
	other := rival(c)
	d, err := executor.Execute(t.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
		require.NoError(t, execute(ctx, pgstore.Tx(ctx), "INSERT INTO effects VALUES ('effect')"))
		d, err := store.Acquire(ctx, other)
		require.NoError(t, err)
		require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
		return done("response")
	})
	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictRunning, d.Verdict)
	require.Zero(t, scalar[int](t, pool, "SELECT count(*) FROM effects"))
	require.NoError(t, store.Finish(t.Context(), other.Owner(), done("other")))
}
