package idempotenttest_test

import (
	"context"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/internal/idemtest"
)

func TestTxStoreConformsAsAStore(t *testing.T) {
	t.Parallel()
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		clock := new(idemtest.Clock)
		return idemtest.NewTxStore(idemtest.NewDatabase(64), clock.Now, time.Minute), clock.Advance
	})
}

func TestTxStoreConformsAsAnExecutor(t *testing.T) {
	t.Parallel()
	idempotenttest.RunExecutor(t, func(*testing.T) idempotenttest.ExecutorFixture {
		db, clock := idemtest.NewDatabase(16), new(idemtest.Clock)
		return fixtureOf(idemtest.NewTxStore(db, clock.Now, time.Second), db, clock)
	})
}

func TestExecutorConformsWithoutOptionalFunctions(t *testing.T) {
	t.Parallel()
	idempotenttest.RunExecutor(t, func(*testing.T) idempotenttest.ExecutorFixture {
		db, clock := idemtest.NewDatabase(16), new(idemtest.Clock)
		all := fixtureOf(idemtest.NewTxStore(db, clock.Now, time.Second), db, clock)
		return idempotenttest.ExecutorFixture{Executor: all.Executor, Effect: all.Effect, Effects: all.Effects}
	})
}

func TestTxStoreWithOneWriterConforms(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(*idemtest.TxStore) idempotent.Executor{
		"it waits":         func(s *idemtest.TxStore) idempotent.Executor { return s },
		"it does not wait": idemtest.Impatient,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idempotenttest.RunExecutor(t, func(*testing.T) idempotenttest.ExecutorFixture { return oneWriter(wrap) })
		})
	}
}

// oneWriter returns a fixture whose database has one writer at a time.
func oneWriter(wrap func(*idemtest.TxStore) idempotent.Executor) idempotenttest.ExecutorFixture {
	db, clock := idemtest.NewDatabase(16), new(idemtest.Clock)
	db.OneWriter = true
	f := fixtureOf(wrap(idemtest.NewTxStore(db, clock.Now, time.Second)), db, clock)
	f.OneWriter = true
	return f
}

func fixtureOf(e idempotent.Executor, db *idemtest.Database, clock *idemtest.Clock) idempotenttest.ExecutorFixture {
	commit := func(f idemtest.CommitFault) func() { return func() { db.FailNextCommit(f) } }
	return idempotenttest.ExecutorFixture{
		Executor: e,
		Effect: func(ctx context.Context) error {
			return idemtest.Tx(ctx).Set(ctx, "effect "+idempotent.NewToken().String(), "done")
		},
		Effects:       func() int { return db.Count("effect ") },
		Advance:       clock.Advance,
		Transactions:  db.Transactions,
		Exhaust:       db.Exhaust,
		FailStatement: func(ctx context.Context) error { return idemtest.Tx(ctx).Fail() },
		FailAndRecover: func(ctx context.Context) error {
			tx := idemtest.Tx(ctx)
			if err := tx.Savepoint("mine"); err != nil {
				return err
			}
			err := tx.Fail()
			if undone := tx.RollbackTo("mine"); undone != nil {
				return undone
			}
			return err
		},
		ConflictStatement: db.ConflictNext,
		ConflictCommit:    commit(idemtest.CommitConflict),
		RefuseCommit:      commit(idemtest.CommitRefused),
		LoseReply:         commit(idemtest.CommitReplyLost),
		LoseCommit:        commit(idemtest.CommitNever),
		DelayCommit:       commit(idemtest.CommitLate),
	}
}
