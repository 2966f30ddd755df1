package idempotent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Store keeps one record for each [ID]. Each operation is one atomic step. Time is measured
// by the store's own clock: callers pass and get durations, never points in time. Package
// idempotenttest checks an implementation.
//
// A record is absent, running, done, not kept or unknown. Every store follows these rules:
//
//  1. If there is a record, its [Fingerprint] is compared first, whatever its state. A
//     claim with another fingerprint gets VerdictMismatch immediately and learns nothing
//     else.
//  2. The caller makes the [Token] before it asks. A store that finds the caller's own token
//     reports success, so that a call can be repeated after its reply was lost.
//  3. The token decides who owns a record, and not the lease. Every change compares the token and
//     writes the record in one step. An owner whose lease is over, but who was not replaced, can
//     still renew, begin an effect and finish. An owner who was replaced gets [ErrLost] and changes
//     nothing.
//  4. There are two durations. After the lease, which is short, a running record can be taken over
//     unless its effect was begun. After the retention, which is long, a record in any state is
//     absent again, but not before its lease is over.
//  5. A running or unknown record is never evicted to make room.
//  6. A store that has no room returns [ErrFull], or [ErrQuota] if only this scope has none: from
//     Acquire for a new record, and from Finish and [Resolver].Resolve for the response of a
//     StateDone. These errors change nothing. A full store refuses nothing else.
//
// After any error that is not documented for an operation, it is unknown whether the
// operation took effect. The methods must be safe for concurrent use, and return when ctx
// ends. Neither the store nor its caller changes the bytes of a response.
type Store interface {
	// Acquire asks for the right to run. The state of the record decides:
	//
	//	absent, or over its retention             Acquired: running, attempt 1
	//	any other, with another fingerprint       Mismatch; nothing changes
	//	running, the claim's own token            Acquired: the same attempt, a new lease
	//	running, another token, during the lease  Running
	//	running, lease over, no effect begun      Acquired: a takeover, attempt n+1
	//	running, lease over, an effect begun      Unknown; the owner can still finish
	//	done                                      Done, with the response
	//	not kept                                  NotKept, with the response
	//	unknown                                   Unknown
	//
	// A takeover starts a new lease and a new retention. Its effect has not begun.
	Acquire(ctx context.Context, c Claim) (Decision, error)

	// Renew makes the lease end d from now. The record does not end before its lease. Renew
	// returns ErrLost unless the record is running under the owner's token.
	Renew(ctx context.Context, o Owner, d time.Duration) error

	// BeginEffect marks the point of no return. From then on, the record is never taken over,
	// and its outcome is unknown if the lease ends before the run is finished. BeginEffect
	// returns ErrLost unless the record is running under the owner's token. A second call
	// changes nothing.
	BeginEffect(ctx context.Context, o Owner) error

	// Finish ends a run. A record that is running under the owner's token becomes, by the
	// State of the completion:
	//
	//	StateDone      done, with the response
	//	StateNotKept   not kept, with the response, which is small
	//	StateUnknown   unknown if an effect was begun, otherwise absent
	//	StateAbsent    absent, even if an effect was begun: the owner knows that nothing was done
	//
	// Finish returns nil and changes nothing in two cases: the record was already finished
	// under this token, or it is absent and the completion is StateAbsent or StateUnknown.
	// For any other record, it returns ErrLost.
	Finish(ctx context.Context, o Owner, c Completion) error
}

// The errors of a [Store] and its optional interfaces. An operation that returns one of them
// has changed nothing.
var (
	// ErrLost is returned to an owner that was replaced, or whose record is finished or gone.
	ErrLost = errors.New("idempotent: the record is no longer the caller's")
	// ErrFull is returned by a store that has no room left. ErrQuota matches it (errors.Is).
	ErrFull = errors.New("idempotent: the store is full")
	// ErrQuota is returned by a store in which one scope has used up its share.
	ErrQuota error = quotaError{}
	// ErrNotUnknown is returned by Resolve for a record that is absent or not unknown.
	ErrNotUnknown = errors.New("idempotent: the record is not unknown")
)

type quotaError struct{}

func (quotaError) Error() string        { return "idempotent: the scope's share of the store is used up" }
func (quotaError) Is(target error) bool { return target == ErrFull }

// A Claim is the argument of Acquire.
type Claim struct {
	// ID is the key of the record.
	ID ID

	// Scope is the hash of the principal, for quotas and reports. It is zero for [Global]. It
	// never decides which record is found, because the ID includes the principal.
	Scope ID

	// Token is new for each call, and the same when a call repeats an Acquire.
	Token Token

	// Fingerprint distinguishes this request from a different one with the same key.
	Fingerprint Fingerprint

	// Lease is how long the owner may be silent before another caller may take over. It is
	// positive.
	Lease time.Duration

	// Retention is how long the running record is kept after the Acquire that made it or took
	// it over. An Acquire that the owner repeats does not change that. It is positive.
	Retention time.Duration
}

// Owner returns the owner of the record once this claim is acquired.
func (c Claim) Owner() Owner { return Owner{ID: c.ID, Token: c.Token} }

// Validate returns an error unless the lease and the retention are positive. It is for stores.
func (c Claim) Validate() error {
	if c.Lease <= 0 || c.Retention <= 0 {
		return errors.New("the lease and the retention must be positive")
	}
	return nil
}

// An Owner is the right to change one record.
type Owner struct {
	ID    ID
	Token Token
}

// A Decision is the result of Acquire. Its zero value is invalid.
type Decision struct {
	Verdict Verdict

	// Attempt counts the runs under this record, including this one: 1 for a new record, and
	// one more after each takeover. It is 0 unless the verdict is VerdictAcquired.
	Attempt int

	// Response is the response of the completion, byte for byte, if the verdict is
	// VerdictDone or VerdictNotKept. Otherwise it is nil.
	Response []byte

	// LeaseLeft is the rest of the owner's lease if the verdict is VerdictRunning, or 0 if it
	// is not known.
	LeaseLeft time.Duration
}

// A Verdict is the answer to a claim. The zero value is invalid.
type Verdict uint8

// The verdicts.
const (
	VerdictAcquired Verdict = iota + 1 // the caller owns the record and must run
	VerdictRunning                     // another owner is running
	VerdictMismatch                    // the key was used for a different request
	VerdictDone                        // finished, with its response
	VerdictNotKept                     // finished, and its response was not kept
	VerdictUnknown                     // failed after its effect had begun
)

var verdictNames = [...]string{"invalid", "acquired", "running", "mismatch", "done", "not_kept", "unknown"}

// String returns the verdict's name in lower case. It is "invalid" for an unknown verdict.
func (v Verdict) String() string { return nameIn(verdictNames[:], int(v)) }

// A Completion is how a run ends.
type Completion struct {
	// State is StateDone, StateNotKept, StateUnknown or StateAbsent. See [Store].Finish.
	State State

	// Response is opaque to the store. It is an encoded [Response]: the whole one for
	// StateDone, and only its status and Location for StateNotKept. Otherwise it is nil.
	Response []byte

	// Retention is how long the finished record is kept. It is positive, and ignored for
	// StateAbsent.
	Retention time.Duration
}

// Validate returns an error unless the completion has one of the states and, unless that is
// StateAbsent, a positive retention. It is for stores.
func (c Completion) Validate(states ...State) error {
	if !slices.Contains(states, c.State) || c.State != StateAbsent && c.Retention <= 0 {
		return fmt.Errorf("invalid completion: state %s, retention %s; want one of the states %v and a positive retention",
			c.State, c.Retention, states)
	}
	return nil
}

// A State is the state of a record. The zero value is invalid.
type State uint8

// The states.
const (
	StateAbsent  State = iota + 1 // there is no record: the key is new or was released
	StateRunning                  // an owner is running
	StateDone                     // finished, with its response
	StateNotKept                  // finished; the response was too large or streamed, or there was no room for it
	StateUnknown                  // failed after its effect had begun
)

var stateNames = [...]string{"invalid", "absent", "running", "done", "not_kept", "unknown"}

// String returns the state's name in lower case, for logs and for the columns of stores. It
// is "invalid" for an unknown state.
func (s State) String() string { return nameIn(stateNames[:], int(s)) }

func nameIn(names []string, i int) string {
	if i >= len(names) {
		i = 0
	}
	return names[i]
}
