package idempotent

import (
	"context"
	"errors"
	"time"
)

// A Store keeps one record per [ID]. Each operation is one atomic step that the store's own clock
// decides: durations cross the interface, instants never do.
//
// A record is absent, running, done, not kept or unknown. These rules hold for every store, and
// package idempotenttest checks them:
//
//  1. The [Fingerprint] is compared before anything else, in every state. A claim with another one
//     is VerdictMismatch, immediately, and learns nothing more.
//  2. The caller makes the [Token] before it asks. A store that finds the caller's own token says
//     that the operation has succeeded, so every operation can be repeated after a lost reply.
//  3. Ownership is the token, life is the lease. Every change compares the token and sets the
//     record in one step. An owner whose lease is over, and whom nobody replaced, can still
//     renew, begin an effect and finish. An owner who was replaced gets [ErrLost] and changes
//     nothing.
//  4. There are two clocks: a short lease, after which a running record can be taken over if no
//     effect was begun, and a long retention, after which a record in any state is absent again.
//     No record ends before its lease does.
//  5. A running or unknown record is never evicted to make room.
//
// Any error that is not documented for an operation means that nobody knows whether the operation
// took effect. Implementations must be safe for concurrent use. The bytes of a response are never
// changed, neither by the store nor by its caller, once they have been passed or returned.
type Store interface {
	// Acquire asks for the right to run. Its verdict depends on the state that it finds:
	//
	//	any, with another fingerprint               Mismatch; nothing changes
	//	absent, or over its retention               Acquired: running, attempt 1
	//	running, the claim's own token              Acquired, the same attempt; the lease starts anew
	//	running, another token, lease alive         Running
	//	running, lease over, no effect begun        Acquired: a takeover, attempt n+1
	//	running, lease over, an effect begun        Unknown; the owner can still finish
	//	done                                        Done, with the response
	//	not kept                                    NotKept, with the response
	//	unknown                                     Unknown
	//
	// A store without room for a new record returns [ErrFull], or [ErrQuota] if only this scope has
	// no room left.
	Acquire(ctx context.Context, c Claim) (Decision, error)

	// Renew makes the lease end d from now, and the record not before. It returns ErrLost unless
	// the record is running under the owner's token, with the lease alive or over.
	Renew(ctx context.Context, o Owner, d time.Duration) error

	// BeginEffect passes the point of no return: from now on the record is never taken over, and
	// its outcome is unknown if the lease ends first. It returns ErrLost unless the record is
	// running under the owner's token. A second call changes nothing.
	BeginEffect(ctx context.Context, o Owner) error

	// Finish ends a run. It succeeds if the record is running under the owner's token:
	//
	//	StateDone      done, with the response
	//	StateNotKept   not kept, with the response, which is small
	//	StateUnknown   unknown if an effect was begun, otherwise absent
	//	StateAbsent    absent, also if an effect was begun: the owner says that nothing was done
	//
	// If the record was finished under this token before, or is absent and the completion is
	// StateAbsent or StateUnknown, it returns nil and changes nothing. Otherwise it returns
	// ErrLost. A store that has no room for the response of a StateDone returns ErrFull or
	// ErrQuota and leaves the record running. It never refuses the other completions.
	Finish(ctx context.Context, o Owner, c Completion) error
}

// ErrLost is returned by Renew, BeginEffect and Finish to an owner that was replaced, or whose
// record is gone. The operation has changed nothing.
var ErrLost = errors.New("idempotent: the record is no longer the caller's")

// ErrFull is returned by a store that has no room left. [ErrQuota] matches it too.
var ErrFull = errors.New("idempotent: the store is full")

// ErrQuota is returned by a store in which one scope has used up its share.
var ErrQuota error = quotaError{}

type quotaError struct{}

func (quotaError) Error() string        { return "idempotent: the scope's share of the store is used up" }
func (quotaError) Is(target error) bool { return target == ErrFull }

// A Claim is what Acquire is asked for.
type Claim struct {
	// ID names the record.
	ID ID
	// Scope is the hash of the principal, for quotas and reports. It is zero if all callers share
	// their keys ([Global]). It never decides which record is found: the ID includes the principal.
	Scope ID
	// Token is the caller's. It is fresh for each call, and the same when a call repeats an
	// Acquire.
	Token Token
	// Fingerprint tells this request from another one that uses the same key.
	Fingerprint Fingerprint
	// Lease is how long the caller may stay silent before another one may take over. Positive.
	Lease time.Duration
	// Retention is how long the running record is kept, counted from the Acquire that made it or
	// took it over. An Acquire that is repeated by the owner does not change that. Positive.
	Retention time.Duration
}

// Owner returns the owner that this claim names once it is acquired.
func (c Claim) Owner() Owner { return Owner{ID: c.ID, Token: c.Token} }

// An Owner is the right to change one record.
type Owner struct {
	ID    ID
	Token Token
}

// A Decision is what Acquire answers. Its zero value is invalid: a store always sets Verdict.
type Decision struct {
	Verdict Verdict
	// Attempt counts the runs under this record, including this one, if the verdict is
	// VerdictAcquired: 1 for a new record, and one more for each takeover. A record that was
	// released is forgotten, and its count with it. Otherwise Attempt is 0.
	Attempt int
	// Response is the completion's, byte for byte, if the verdict is VerdictDone or VerdictNotKept.
	// Otherwise it is nil.
	Response []byte
	// LeaseLeft is how much of the owner's lease is left if the verdict is VerdictRunning. 0 is not
	// known.
	LeaseLeft time.Duration
}

// A Verdict is what a claim is told. The zero value is none.
type Verdict uint8

// The verdicts.
const (
	VerdictAcquired Verdict = iota + 1 // the caller owns the record and is to run
	VerdictRunning                     // another owner is running
	VerdictMismatch                    // the key was used for a different request
	VerdictDone                        // finished, with its response
	VerdictNotKept                     // finished, and its response was not kept
	VerdictUnknown                     // failed after its effect had begun
)

var verdictNames = [...]string{"invalid", "acquired", "running", "mismatch", "done", "not_kept", "unknown"}

// String returns the verdict's name in lower case.
func (v Verdict) String() string { return nameIn(verdictNames[:], int(v)) }

// A Completion is how a run ends.
type Completion struct {
	// State is StateDone, StateNotKept, StateUnknown or StateAbsent: see [Store].Finish.
	State State
	// Response is opaque to the store: an encoded [Response]. For StateDone it is the whole
	// response. For StateNotKept it is the status and the Location. For the others it is nil.
	Response []byte
	// Retention is how long the finished record is kept, counted from this Finish. It is positive,
	// except for StateAbsent, where it is ignored.
	Retention time.Duration
}

// A State is what a record is in. The zero value is invalid.
type State uint8

// The states.
const (
	StateAbsent  State = iota + 1 // there is no record: the key is new, or was released
	StateRunning                  // an owner works on it
	StateDone                     // finished, with its response
	StateNotKept                  // finished; the response was too large, streamed, or dropped for want of room
	StateUnknown                  // failed after its effect had begun
)

var stateNames = [...]string{"invalid", "absent", "running", "done", "not_kept", "unknown"}

// String returns the state's name in lower case, as logs and stores spell it.
func (s State) String() string { return nameIn(stateNames[:], int(s)) }

func nameIn(names []string, i int) string {
	if i >= len(names) {
		i = 0
	}
	return names[i]
}
