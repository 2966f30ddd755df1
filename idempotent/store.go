package idempotent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"
)

// A Store keeps one record per [ID]. Each operation is one atomic step, decided by the store's own clock: durations cross the
// interface, never instants.
//
// A record is absent, RUNNING, DONE, SEALED or UNKNOWN. These rules hold for every store; package idempotenttest checks them:
//
//  1. The [Print] is compared before anything else, in every state: a claim with another print is Mismatch, at once, and learns
//     nothing more.
//  2. The caller makes the [Token] before it asks. A store that finds the caller's own token says that the operation has
//     succeeded, so every operation may be repeated after a reply was lost.
//  3. Ownership is the token, life is the lease. Every change compares the token and sets in one step. An owner whose lease
//     is over and whom nobody replaced may still renew, mark and finish; one who was replaced gets [ErrLost] and changes
//     nothing.
//  4. There are two clocks: a short lease, after which a RUNNING record that was not marked may be taken over, and a long
//     retention, after which a record of any state is absent again. No record ends before its lease does.
//  5. A RUNNING record is never evicted to make room, nor is an UNKNOWN one.
//
// Any error that is not documented for an operation means that nobody knows whether it took effect. Implementations must be
// safe for use by several goroutines. They must not keep a slice that they were given after the call, nor may a caller change
// one that it was returned.
type Store interface {
	// Acquire asks for the right to run. What it answers, by the state that it finds:
	//
	//	any, of another print                 Mismatch; nothing changes
	//	absent                                Acquired: RUNNING, attempt 1
	//	RUNNING, the claim's own token        Acquired, the same attempt, and the lease starts anew
	//	RUNNING, another token, lease alive   InFlight
	//	RUNNING, lease over, not marked       Acquired: a takeover, attempt n+1; the former owner has lost
	//	RUNNING, lease over, marked           Unknown; the owner may still finish
	//	DONE                                  Done, with the record's bytes
	//	SEALED                                Sealed, with the record's bytes
	//	UNKNOWN                               Unknown
	//	over its retention                    as absent; or Expired, by a store that keeps tombstones
	//
	// A store without room for a new record returns [ErrFull], or [ErrQuota] when only this scope has none left.
	Acquire(ctx context.Context, c Claim) (Verdict, error)

	// Renew lets the lease end d from now, and the record not before. It returns ErrLost unless the record is RUNNING (its
	// lease alive or over, marked or not) under the lease's token.
	Renew(ctx context.Context, l Lease, d time.Duration) error

	// Mark passes the point of no return: from now on the record is never taken over, but becomes UNKNOWN when its lease is
	// over. It returns ErrLost unless the record is RUNNING under the lease's token; marking twice is marking once.
	Mark(ctx context.Context, l Lease) error

	// Finish ends a run, by the outcome's state:
	//
	//	Done      DONE, with the outcome's record
	//	Sealed    SEALED, with the outcome's record, which is small
	//	Unknown   UNKNOWN
	//	Released  absent, marked or not: only the owner knows whether an effect began
	//
	// It succeeds when the record is RUNNING under the lease's token. When the record was finished under this token before,
	// or is absent and the outcome is Released, it returns nil and changes nothing. Else it returns ErrLost. A store that
	// cannot keep a Done record for want of room returns ErrFull or ErrQuota and leaves the record RUNNING; the other
	// outcomes are never refused.
	Finish(ctx context.Context, l Lease, o Outcome) error
}

// ErrLost is returned by Renew, Mark and Finish to an owner that was replaced, or whose record is gone: it has changed nothing.
var ErrLost = errors.New("idempotent: the claim is no longer the caller's")

// ErrFull is returned by a store that has no room left. [ErrQuota] matches it too.
var ErrFull = errors.New("idempotent: the store is full")

// ErrQuota is returned by a store in which one scope has used up its share while others have not.
var ErrQuota error = quotaError{}

type quotaError struct{}

func (quotaError) Error() string        { return "idempotent: the scope's share of the store is used up" }
func (quotaError) Is(target error) bool { return target == ErrFull }

// ErrNotUnknown is returned by [Resolver] for a record that is not UNKNOWN.
var ErrNotUnknown = errors.New("idempotent: the record is not in the state UNKNOWN")

// A Claim is what Acquire is asked.
type Claim struct {
	// ID names the record.
	ID ID
	// Scope is the hash of the principal whose record it is, for quotas and reports; zero when there is none ([Global]).
	// It never decides what record is found: the ID holds the principal already.
	Scope ID
	// Token is the caller's, fresh for each request, and the same when the request repeats an Acquire.
	Token Token
	// Print tells this request from another one that uses the same key.
	Print Print
	// Lease is how long the caller may stay silent before another may take over. Positive.
	Lease time.Duration
	// Retention is how long the RUNNING record is kept, counted from this Acquire. Positive.
	Retention time.Duration
}

// Own returns the lease that this claim holds once it is Acquired.
func (c Claim) Own() Lease { return Lease{ID: c.ID, Token: c.Token} }

// A Lease is the right to change one record. It is alive for as long as the claim or the last Renew said.
type Lease struct {
	ID    ID
	Token Token
}

// A Verdict is what Acquire answers. Its zero value is none: a store always sets State.
type Verdict struct {
	// State is Acquired, InFlight, Mismatch, Done, Sealed, Unknown or Expired.
	State State
	// Attempt counts the runs under this record, this one included, when State is Acquired: 1 for a new record, and one more
	// for each takeover. A record that was released is forgotten, and its count with it. Otherwise 0.
	Attempt int
	// Record is the outcome's record, byte for byte, when State is Done or Sealed, else nil.
	Record []byte
	// LeaseLeft is how much of the owner's lease is left when State is InFlight, for callers that wait. 0 is not known.
	LeaseLeft time.Duration
}

// An Outcome is how a run ended.
type Outcome struct {
	// State is Done, Sealed, Unknown or Released.
	State State
	// Record is opaque to the store: an encoded [Response] (see [Response.Encode]). For Done it is the whole response, for
	// Sealed the status and the Location, for the others nil.
	Record []byte
	// Retention is how long the finished record is kept, counted from this Finish. Positive, but for Released, where it is
	// ignored.
	Retention time.Duration
	// owned tells a Memory that Record is given away to it. It is set only where the middleware calls the Memory itself: a
	// store in between may write again to what it has passed on.
	owned bool
}

// A State is what Acquire found or what Finish leaves. The zero value is no state.
type State uint8

// The states.
const (
	Acquired State = iota + 1 // the caller owns the record and is to run (verdicts only)
	InFlight                  // another owner is running (verdicts only)
	Mismatch                  // the key was used for a different request (verdicts only)
	Done                      // finished, with its response
	Sealed                    // finished; the response was too large or streamed to be kept
	Unknown                   // failed after its point of no return
	Expired                   // was there, and its retention is over (verdicts only, of stores with tombstones)
	Released                  // finished without a trace (outcomes only)
)

var stateNames = [...]string{"invalid", "acquired", "in_flight", "mismatch", "done", "sealed", "unknown", "expired", "released"}

// String returns the state's name in lower case, as logs and stores spell it: "acquired", "in_flight".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[0]
}

// A Token proves ownership. It is 16 random bytes.
type Token [16]byte

// NewToken returns a token from the system's cryptographic source.
func NewToken() (t Token) {
	rand.Read(t[:]) // never fails: crypto/rand ends the program where the system has no randomness
	return t
}

// String returns the token in hexadecimal.
func (t Token) String() string { return hex.EncodeToString(t[:]) }

// The following interfaces are optional. The middleware and services find them by type assertion.

// A Waiter can tell early that a record has changed.
type Waiter interface {
	// Wait returns nil when the record is not RUNNING, or soon after it has stopped to be; it may return earlier, and need not
	// notice that a lease is over. It returns ctx's error when ctx ends first. It is a hint: callers ask Acquire again, and
	// do so anyway after a while.
	Wait(ctx context.Context, id ID) error
}

// A Sweeper removes records that are over their retention, for stores where they don't go by themselves.
type Sweeper interface {
	// Sweep removes at most limit records (0 is all there are) and tells how many. It may run at any time, several times at
	// once, and never removes a record that an Acquire at the same moment still finds.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// A Resolver settles UNKNOWN records, once a person or a job has found out what became of the effect.
type Resolver interface {
	// Resolve ends the UNKNOWN record of id (one whose marked owner's lease is over included) as Done, Sealed or Released.
	// The owner, should it still come, gets ErrLost. It returns ErrNotUnknown for a record in any other state, and for none.
	Resolve(ctx context.Context, id ID, o Outcome) error
}

// An Executor is a store that owns the execution, as a transaction does: the claim, the handler's effects and the record
// commit together, or not at all. The middleware calls Execute in place of the four operations.
type Executor interface {
	// Execute answers what Acquire would, and when that is Acquired it has called run, once, on the calling goroutine, with
	// a context that derives from ctx, and has recorded the outcome that run returned, atomically with what run did through
	// that context; Released rolls all of it back. An error means that the outcome was not recorded, and what run did
	// through the context is undone; a store that loses the reply to its commit finds out which it was before it returns. A
	// panic or a runtime.Goexit of run rolls back and goes on up. Execute bounds its own waiting, for another owner's
	// transaction too (InFlight).
	//
	// A claim that is not committed shows nobody its print, and a rollback erases it: rule 1 of [Store] holds once the first
	// has committed, and a Mismatch is told only then. There is no lease; [BeginEffect] is not supported.
	Execute(ctx context.Context, c Claim, run func(ctx context.Context, attempt int) Outcome) (Verdict, error)
}
