package idempotent

import (
	"context"
	"time"
)

// The interfaces in this file are optional. They are found by type assertion, so a store that
// wraps another one must implement those that it passes on.

// A Waiter wakes the duplicates of a running request when its run ends, so that they do not
// have to poll for it.
type Waiter interface {
	// Wait returns nil immediately if the record is not running, and otherwise soon after
	// Finish or a [Resolver] has ended the run. It may return nil earlier, and need not
	// notice the end of a lease, because its callers call Acquire again. If ctx ends first,
	// it returns ctx.Err(). A [Poller] does this for a store whose back end must be asked.
	Wait(ctx context.Context, id ID) error
}

// A Sweeper removes records that are over their retention, for stores in which they do not
// disappear by themselves.
type Sweeper interface {
	// Sweep removes at most limit records and returns how many. If limit is 0, it removes all
	// of them. It can be called at any time and concurrently. It never removes a record that
	// a concurrent Acquire has just acquired again, and it changes no record that is not over
	// its retention.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// A Resolver settles unknown records after a person or a job has found out what happened.
type Resolver interface {
	// Resolve ends the unknown record of id as StateDone, StateNotKept or StateAbsent. A
	// running record whose effect was begun and whose lease is over is unknown too. An owner
	// that comes back later gets ErrLost. For any other record, and if there is none, Resolve
	// returns [ErrNotUnknown].
	Resolve(ctx context.Context, id ID, c Completion) error
}

// An UnknownLister lists the records that a [Resolver] can settle.
type UnknownLister interface {
	// ListUnknown returns at most limit unknown records whose ID is greater than after, in
	// the order of the bytes of their IDs. If after is zero, the list starts at the
	// beginning. If limit is 0, it returns all of them. The list includes running records
	// whose effect was begun and whose lease is over. ListUnknown changes nothing.
	ListUnknown(ctx context.Context, after ID, limit int) ([]UnknownRecord, error)
}

// An UnknownRecord is a record that [Resolver].Resolve can settle.
type UnknownRecord struct {
	ID, Scope ID

	// Attempt is the number of the run that failed.
	Attempt int

	// Left is the rest of the record's retention. After it the key is new.
	Left time.Duration
}

// A LocalStore is a store whose records can end with this process.
type LocalStore interface {
	// Local reports whether the store's records end with this process and its calls need no
	// timeout. If so, claims have a lease of 100 years that is not renewed, and a call that
	// returns an error is not retried.
	Local() bool
}

// An Executor is a store in which the claim, the handler's effects and the record are one
// transaction. A [Guard] calls Execute instead of the four operations of [Store].
type Executor interface {
	// Execute returns what Acquire would. If the verdict is VerdictAcquired, it has called
	// run on the calling goroutine, with a context that derives from ctx. The completion that
	// run returned decides the outcome of everything that run did through that context:
	//
	//	StateDone, StateNotKept    committed, together with the record
	//	StateAbsent                rolled back; no trace is left
	//
	// The rules:
	//
	//  1. The record is read first, outside of a transaction, so that a replay begins none.
	//  2. After a serialization failure or a deadlock everything is rolled back, and run may be
	//     called again. Each call is a new run, and the last one counts.
	//  3. If a statement of run has aborted the transaction, run's effects are rolled back to a
	//     savepoint that was set before run was called. A response with a status of 400 or more is
	//     then recorded all the same. One with a lower status is an error, because it would claim
	//     effects that do not exist.
	//  4. If the reply to the commit is lost, Execute finds out whether the commit took effect. It
	//     waits for the old transaction to end before it looks.
	//  5. An error means that nothing was recorded and that run's effects are undone, or that the
	//     database could not be reached to find out.
	//  6. If run panics or calls runtime.Goexit, Execute rolls back and lets it continue.
	//  7. Every wait is bounded: for a connection, for another owner's transaction (then the
	//     verdict is VerdictRunning), and for the outcome of a commit. If only one transaction
	//     can write at a time, and it may be about another key, the result of the wait for it
	//     is an error.
	//
	// No one else sees a claim before it is committed, and a rollback erases it. So a
	// mismatch is reported only after the first run has committed. There is no lease, and
	// [BeginEffect] is not supported.
	Execute(ctx context.Context, c Claim, run func(ctx context.Context, attempt int) Completion) (Decision, error)
}
