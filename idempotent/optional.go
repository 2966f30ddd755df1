package idempotent

import (
	"context"
	"errors"
	"time"
)

// The following interfaces are optional. They are found by type assertion: a store that wraps
// another one implements those that it passes on.

// A Waiter can tell early that a record has changed.
type Waiter interface {
	// Wait returns nil if the record is not running, or soon after Finish, or a [Resolver], has
	// ended its run. It may return earlier, and need not notice the end of a lease. It returns
	// ctx's error if ctx ends first. It is a hint: callers ask Acquire again, and do so anyway
	// after a while.
	Wait(ctx context.Context, id ID) error
}

// A Sweeper removes records that are over their retention, for stores where they do not
// disappear by themselves.
type Sweeper interface {
	// Sweep removes at most limit records and returns how many. A limit of 0 is no limit. It may
	// run at any time, several times at the same time, and never removes a record that an
	// Acquire at the same moment still finds. It changes no other record.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// A Resolver settles unknown records, once a person or a job has found out what became of the
// effect.
type Resolver interface {
	// Resolve ends the unknown record of id as StateDone, StateNotKept or StateAbsent. A running
	// record whose effect was begun and whose lease is over is unknown too. The owner gets
	// ErrLost if it still comes. Resolve returns [ErrNotUnknown] for a record in any other
	// state, and for none. A store that has no room for the response of a StateDone returns
	// [ErrFull] or [ErrQuota] and leaves the record as it was. It never refuses the other
	// completions.
	Resolve(ctx context.Context, id ID, c Completion) error
}

// ErrNotUnknown is returned by [Resolver].Resolve for a record that is not unknown, or that is
// absent.
var ErrNotUnknown = errors.New("idempotent: the record is not unknown")

// An UnknownLister lists the records that a [Resolver] can settle, so that a job finds them without
// having kept the events.
type UnknownLister interface {
	// ListUnknown returns at most limit unknown records whose ID is greater than after, in the
	// order of their IDs. A zero after is the beginning, and a limit of 0 is no limit. It
	// includes running records whose effect was begun and whose lease is over, and changes none:
	// their owners can still finish them.
	ListUnknown(ctx context.Context, after ID, limit int) ([]UnknownRecord, error)
}

// An UnknownRecord is a record that waits for [Resolver].Resolve.
type UnknownRecord struct {
	ID, Scope ID
	// Attempt is the number of the run that failed.
	Attempt int
	// Left is how long the record is kept. After that its key is new.
	Left time.Duration
}

// A LocalStore lives and dies with this process.
type LocalStore interface {
	// Local reports whether the store's records end with this process and its calls need no
	// timeout. If so, leases are neither renewed nor ever over, and calls are not repeated: an
	// error stays.
	Local() bool
}

// An Executor is a store that owns the execution, as a database transaction does: the claim, the
// handler's effects and the record commit together or not at all. A [Guard] calls Execute
// instead of the four operations of [Store].
type Executor interface {
	// Execute answers what Acquire would. If the verdict is VerdictAcquired, it has called run
	// on the calling goroutine, with a context that derives from ctx, and has recorded the
	// completion that run returned, atomically with what run did through that context:
	//
	//	StateDone, StateNotKept    committed
	//	StateAbsent                rolled back; no trace is left
	//
	// The rules:
	//
	//  1. The record is read first, outside of a transaction, so a replay begins none.
	//  2. After a serialization failure or a deadlock everything is rolled back, and run may be
	//     called again. Each call is a new run, and the last one counts.
	//  3. A statement of run's that fails must not keep a completion from being recorded: a
	//     savepoint stands in front of run, and if the transaction was aborted since, run's
	//     effects are rolled back to it. Then a response with a status of 400 or more is
	//     recorded all the same. One with a lower status is an error: it would claim effects
	//     that do not exist.
	//  4. If the reply to the commit is lost, Execute finds out whether it took effect before it
	//     returns, and waits for the old transaction to end before it looks.
	//  5. An error means that nothing was recorded and that run's effects are undone; or that the
	//     database could not be reached any more to find out.
	//  6. A panic or runtime.Goexit of run rolls back and continues.
	//  7. Every wait is bounded: for a connection, for another owner's transaction
	//     (VerdictRunning), and for the fate of a commit.
	//
	// A claim that is not committed shows its fingerprint to nobody, and a rollback erases it:
	// rule 1 of [Store] holds once the first run has committed, and a Mismatch is told only
	// then. There is no lease, and [BeginEffect] is not supported.
	Execute(ctx context.Context, c Claim, run func(ctx context.Context, attempt int) Completion) (Decision, error)
}
