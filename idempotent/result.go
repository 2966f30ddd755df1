package idempotent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// result is how a call ended.
type result struct {
	outcome   Outcome
	followers Outcome // of the calls that waited for this one; empty if it is the same
	ask       bool    // the calls that waited must ask the store themselves
	response  []byte  // the encoded response of this run or of the record
	err       error   // the store's
	answer    error   // the error of this run, in place of its response
}

// forFollowers returns the result of the calls that waited for this one.
func (r result) forFollowers() result {
	if r.followers != "" {
		r.outcome = r.followers
	}
	return r
}

// resultOfFailure returns the result of a call whose store failed before the run, or after a
// claim was lost.
func (c *call) resultOfFailure(err error) result {
	switch {
	case errors.Is(err, ErrQuota):
		return result{outcome: OutcomeOverQuota, err: err}
	case errors.Is(err, ErrFull):
		return result{outcome: OutcomeStoreFull, err: err}
	case c.opt.OnFailure == FailOpen && c.ran == nil && !c.waited:
		c.warn("idempotent: a call runs without protection, because the store failed", err)
		return result{outcome: OutcomeBypassed, followers: OutcomeStoreFailed, err: err}
	}
	if c.ran == nil && !c.local {
		c.giveBack(1) // if the claim was acquired after all, it would block a retry for a whole lease
	}
	return result{outcome: OutcomeStoreFailed, err: err}
}

// resultOfRecord returns the result of a call that is answered from the store's record.
func resultOfRecord(d Decision) result {
	switch d.Verdict {
	case VerdictMismatch:
		return result{outcome: OutcomeConflict}
	case VerdictDone:
		return result{outcome: OutcomeReplayed, response: d.Response}
	case VerdictNotKept:
		return result{outcome: OutcomeUnavailable, response: d.Response}
	case VerdictUnknown:
		return result{outcome: OutcomeStillUnknown}
	default:
		return result{outcome: OutcomeStoreFailed, err: fmt.Errorf("idempotent: the store returned an invalid verdict: %d", d.Verdict)}
	}
}

// resultOfRun returns the result of a call that ran. If err is not nil, the run was not
// recorded.
func (c *call) resultOfRun(err error) result {
	n := c.ran
	r := result{response: n.completion.Response, err: err, answer: n.err}
	switch n.completion.State {
	case StateDone:
		r.outcome, r.followers = OutcomeExecuted, OutcomeReplayed
	case StateNotKept:
		r.outcome, r.followers = OutcomeNotKept, OutcomeUnavailable
	case StateUnknown:
		r.outcome, r.followers = OutcomeUnknown, OutcomeStillUnknown
		r.ask = n.shared // only the store knows whether the effect has begun
		cause := errUnknown
		if n.shared {
			cause = errUnknownCommit
		}
		c.warn("idempotent: a call failed after BeginEffect", cause)
	default:
		r.outcome, r.followers = OutcomeReleased, OutcomeLeaderFailed
	}
	if n.mayHaveFinished() { // only the store knows which response is recorded
		r.followers, r.ask = OutcomeInProgress, true
	}
	switch {
	case err != nil:
		r.outcome = OutcomeUnrecorded
		c.warn("idempotent: the end of a call could not be recorded", err)
	case n.full != nil:
		r.err = n.full
		c.warn("idempotent: the store has no room for a response", n.full)
	}
	return r
}

// refusal returns the error that answers a call that did not run.
func (r result) refusal() error {
	switch r.outcome {
	case OutcomeConflict:
		return apierror.CodeIdempotencyConflict.New().WithParam(headerKey)
	case OutcomeInProgress:
		return apierror.CodeIdempotencyInProgress.New().WithRetryAfter(soon())
	case OutcomeStillUnknown:
		return apierror.CodeIdempotencyOutcomeUnknown.New()
	case OutcomeUnavailable:
		return unavailable(r.response)
	case OutcomeOverQuota:
		return apierror.RateLimitExceeded(soon()).WithCause(r.err)
	case OutcomeLeaderFailed:
		return serviceUnavailable(errLeaderFailed)
	default:
		return serviceUnavailable(r.err)
	}
}

// unavailable returns the error for a response that was not kept. It has the Location of that
// response if the record has one.
func unavailable(response []byte) error {
	e := apierror.CodeIdempotencyResponseUnavailable.New()
	if rec, err := DecodeResponse(response); err == nil && rec.Header.Get("Location") != "" {
		return e.WithHeader("Location", rec.Header.Get("Location"))
	}
	return e
}

// internalError returns the error for a mistake in the service.
func internalError(cause error) error { return apierror.CodeAPIError.New().WithCause(cause) }

// serviceUnavailable returns the error for a temporary failure.
func serviceUnavailable(cause error) error {
	return apierror.ServiceUnavailable(soon()).WithCause(cause)
}

// soon returns how long a caller is told to wait: one or two seconds, at random, so that not
// all callers return at the same time.
func soon() time.Duration { return time.Duration(1+rand.IntN(2)) * time.Second }

var (
	errLeaderFailed  = errors.New("idempotent: the first call with this key failed while this one waited")
	errUnknownCommit = errors.New("idempotent: if the transaction with the effect was committed, the key is refused until the record is resolved")
	errUnknown       = errors.New("idempotent: it is unknown whether the effect happened; the key is refused until the record is resolved")
)
