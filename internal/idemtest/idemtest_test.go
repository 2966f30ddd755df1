package idemtest_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/idemtest"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the tests make calls fail
	leakcheck.Main(m)
}

func TestFailedStatementAbortsTheTransaction(t *testing.T) {
	t.Parallel()
	db := idemtest.NewDatabase(2)
	tx, err := db.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, tx.Set(t.Context(), "a", "1"))
	require.NoError(t, tx.Savepoint("s"))
	require.NoError(t, tx.Set(t.Context(), "b", "1"))
	require.ErrorIs(t, tx.Fail(), idemtest.ErrStatement)
	require.ErrorIs(t, tx.Set(t.Context(), "b", "2"), idemtest.ErrAborted)
	require.NoError(t, tx.RollbackTo("s"))
	require.NoError(t, tx.Set(t.Context(), "c", "1"))
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"1", "", "1"}, []string{db.Get("a"), db.Get("b"), db.Get("c")})

	tx, err = db.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, tx.Set(t.Context(), "a", "2"))
	require.Error(t, tx.Fail())
	require.ErrorIs(t, tx.Commit(), idemtest.ErrAborted, "it is rolled back")
	require.Equal(t, "1", db.Get("a"))
	require.ErrorIs(t, tx.Set(t.Context(), "a", "3"), idemtest.ErrEnded)
}

func TestLockedRowMakesOtherTransactionsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := idemtest.NewDatabase(2)
		first, err := db.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, first.Set(t.Context(), "a", "first"))
		second, err := db.Begin(t.Context())
		require.NoError(t, err)
		written := make(chan error)
		go func() { written <- second.Set(t.Context(), "a", "second") }()
		synctest.Wait()
		require.Empty(t, written)
		require.Empty(t, db.Get("a"), "the write is not committed")
		require.NoError(t, first.Commit())
		require.NoError(t, <-written)
		require.Equal(t, "first", db.Get("a"))
		require.NoError(t, second.Commit())
		require.Equal(t, "second", db.Get("a"))
	})
}

func TestCommitFaults(t *testing.T) {
	t.Parallel()
	for fault, want := range map[idemtest.CommitFault]struct {
		err       error
		value     string
		afterRead string
	}{
		idemtest.CommitRefused:   {idemtest.ErrRefused, "", ""},
		idemtest.CommitConflict:  {idemtest.ErrSerialization, "", ""},
		idemtest.CommitNever:     {idemtest.ErrConnection, "", ""},
		idemtest.CommitReplyLost: {idemtest.ErrConnection, "1", "1"},
		idemtest.CommitLate:      {idemtest.ErrConnection, "", "1"},
	} {
		db := idemtest.NewDatabase(1)
		db.FailNextCommit(fault)
		tx, err := db.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, tx.Set(t.Context(), "a", "1"))
		require.ErrorIs(t, tx.Commit(), want.err)
		require.Equal(t, want.value, db.Get("a"), "fault %d", fault)
		require.Equal(t, want.afterRead, db.Get("a"), "fault %d", fault)
		tx, err = db.Begin(t.Context()) // the connection and the row are free
		require.NoError(t, err)
		require.NoError(t, tx.Set(t.Context(), "a", "2"))
		require.NoError(t, tx.Commit())
		require.Equal(t, "2", db.Get("a"))
	}
}

func TestHandlerCannotEndTheTransactionOfTheStore(t *testing.T) {
	t.Parallel()
	db := idemtest.NewDatabase(1)
	s := idemtest.NewTxStore(db, new(idemtest.Clock).Now, time.Second)
	c := idempotent.Claim{Token: idempotent.NewToken(), Lease: time.Minute, Retention: time.Hour}
	var kept *idemtest.HandlerTx
	_, err := s.Execute(t.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
		tx := idemtest.Tx(ctx)
		_, commits := any(tx).(interface{ Commit() error })
		_, rolls := any(tx).(interface{ Rollback() })
		require.False(t, commits || rolls)
		require.NoError(t, tx.Set(ctx, "a", "1"))
		require.Error(t, tx.RollbackTo("before the run"), "the store's savepoint")
		require.NoError(t, tx.Savepoint("before the run"))
		require.NoError(t, tx.Set(ctx, "a", "2"))
		require.NoError(t, tx.RollbackTo("before the run"), "the handler's savepoint of the same name")
		kept = tx
		return idempotent.Response{Status: 200}.Completion(time.Hour)
	})
	require.NoError(t, err)
	require.Equal(t, "1", db.Get("a"))
	require.ErrorIs(t, kept.Set(t.Context(), "a", "3"), idemtest.ErrEnded)
	_, err = kept.Get("a")
	require.ErrorIs(t, err, idemtest.ErrEnded)
}

var errBusiness = errors.New("the business transaction was rolled back")

// service is a guard whose store takes part in transactions of handlers.
type service struct {
	db    *idemtest.Database
	store *idemtest.TxStore
	guard *idempotent.Guard
}

func newService() *service {
	start := time.Now()
	db := idemtest.NewDatabase(8)
	store := idemtest.NewTxStore(db, func() time.Duration { return time.Since(start) }, time.Second)
	return &service{db, store, idempotent.NewGuard(store.WithoutExecutor(), nil)}
}

func (s *service) do(t *testing.T, f func(ctx context.Context, tx *idemtest.Transaction) (string, error)) (string, error) {
	t.Helper()
	return idempotent.Do(t.Context(), s.guard, idempotent.Call{Principal: "p", Key: "k"}, func(ctx context.Context) (string, error) {
		tx, err := s.db.Begin(ctx)
		require.NoError(t, err)
		defer tx.Rollback()
		return f(ctx, tx)
	})
}

func TestEffectBeginsIfAndOnlyIfItsTransactionCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		_, err := s.do(t, func(ctx context.Context, tx *idemtest.Transaction) (string, error) {
			require.NoError(t, tx.Set(ctx, "balance", "1"))
			require.NoError(t, s.store.BeginEffectTx(ctx, tx))
			return "", errBusiness
		})
		require.ErrorIs(t, err, errBusiness)
		require.Empty(t, s.db.Get("balance"))

		_, err = s.do(t, func(ctx context.Context, tx *idemtest.Transaction) (string, error) { // the key is free
			require.NoError(t, tx.Set(ctx, "balance", "2"))
			require.NoError(t, s.store.BeginEffectTx(ctx, tx))
			require.NoError(t, tx.Commit())
			return "", errBusiness
		})
		require.ErrorIs(t, err, errBusiness)
		require.Equal(t, "2", s.db.Get("balance"))

		_, err = s.do(t, func(context.Context, *idemtest.Transaction) (string, error) {
			t.Error("ran again after its effect")
			return "", nil
		})
		require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err))
	})
}

func TestReplacedOwnerCannotCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		_, err := s.do(t, func(ctx context.Context, tx *idemtest.Transaction) (string, error) {
			owner, ok := idempotent.OwnerOf(ctx)
			require.True(t, ok)
			// The lease ends, and another process takes over.
			require.NoError(t, s.store.Renew(ctx, owner, time.Nanosecond))
			time.Sleep(time.Millisecond)
			d, err := s.store.Acquire(ctx, idempotent.Claim{
				ID: owner.ID, Token: idempotent.NewToken(), Lease: time.Minute, Retention: time.Hour,
			})
			require.NoError(t, err)
			require.Equal(t, idempotent.VerdictAcquired, d.Verdict)

			require.NoError(t, tx.Set(ctx, "balance", "1"))
			err = s.store.BeginEffectTx(ctx, tx)
			require.ErrorIs(t, err, idempotent.ErrLeaseLost)
			return "", err
		})
		require.Equal(t, apierror.CodeIdempotencyInProgress, apierror.CodeOf(err), "the other one runs")
		require.Empty(t, s.db.Get("balance"))
	})
}

func TestRecordIsFinishedInTheTransactionOfTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		_, err := s.do(t, func(ctx context.Context, tx *idemtest.Transaction) (string, error) {
			require.NoError(t, tx.Set(ctx, "balance", "1"))
			require.NoError(t, s.store.FinishTx(ctx, tx, idempotent.Response{Status: 200, Body: []byte(`"one"`)}, time.Hour))
			return "", errBusiness // rolled back
		})
		require.ErrorIs(t, err, errBusiness)

		_, err = s.do(t, func(ctx context.Context, tx *idemtest.Transaction) (string, error) {
			require.NoError(t, tx.Set(ctx, "balance", "2"))
			require.NoError(t, s.store.FinishTx(ctx, tx, idempotent.Response{Status: 200, Body: []byte(`"two"`)}, time.Hour))
			require.NoError(t, tx.Commit())
			return "", errBusiness // after the commit
		})
		require.ErrorIs(t, err, errBusiness)

		replayed, err := s.do(t, func(context.Context, *idemtest.Transaction) (string, error) {
			t.Error("ran again after its commit")
			return "", nil
		})
		require.NoError(t, err)
		require.Equal(t, "two", replayed)
		require.Equal(t, "2", s.db.Get("balance"))

		tx, err := s.db.Begin(t.Context())
		require.NoError(t, err)
		defer tx.Rollback()
		require.NoError(t, s.store.FinishTx(t.Context(), tx, idempotent.Response{Status: 200}, time.Hour), "without a key")
		require.NoError(t, s.store.BeginEffectTx(t.Context(), tx), "without a key")
	})
}
