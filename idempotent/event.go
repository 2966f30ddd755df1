package idempotent

import "time"

// An Outcome is how a call with a key was answered. Its text can be the label of a metric.
type Outcome string

// The outcomes of calls that ran.
const (
	// OutcomeExecuted means that the response was recorded.
	OutcomeExecuted Outcome = "executed"
	// OutcomeNotKept means that the response was too large or streamed, or the store had no
	// room for it.
	OutcomeNotKept Outcome = "not_kept"
	// OutcomeReleased means that the call failed or could not begin, and the key is free
	// again.
	OutcomeReleased Outcome = "released"
	// OutcomeUnknown means that the call failed after its effect had begun.
	OutcomeUnknown Outcome = "unknown"
	// OutcomeUnrecorded means that the end of the call could not be recorded.
	OutcomeUnrecorded Outcome = "unrecorded"
	// OutcomeBypassed means that the call ran without protection because the store failed.
	// See [FailOpen].
	OutcomeBypassed Outcome = "bypassed"
)

// The outcomes of calls that did not run, with the status of the answer.
const (
	// OutcomeReplayed means that the recorded response was sent.
	OutcomeReplayed Outcome = "replayed"
	// OutcomeConflict is a 409: the key belongs to a different request.
	OutcomeConflict Outcome = "conflict"
	// OutcomeInProgress is a 429: the first call was still running after the wait, or too
	// many calls waited.
	OutcomeInProgress Outcome = "in_progress"
	// OutcomeLeaderFailed is a 503: the first call failed while this one waited.
	OutcomeLeaderFailed Outcome = "leader_failed"
	// OutcomeStillUnknown is a 409: an earlier call failed after its effect had begun, and
	// its record was not resolved.
	OutcomeStillUnknown Outcome = "outcome_unknown"
	// OutcomeUnavailable is a 409: an earlier call ran, and its response was not kept.
	OutcomeUnavailable Outcome = "response_unavailable"
	// OutcomeStoreFailed is a 503: the store failed. It is a 500 if the record cannot be
	// decoded.
	OutcomeStoreFailed Outcome = "store_failed"
	// OutcomeStoreFull is a 503: the store has no room for another record.
	OutcomeStoreFull Outcome = "store_full"
	// OutcomeOverQuota is a 429: the principal's share of the store is used up.
	OutcomeOverQuota Outcome = "over_quota"
	// OutcomeRefused means that the key, the body or the principal was invalid, or that
	// [Options].Authorize returned an error. Nothing was recorded.
	OutcomeRefused Outcome = "refused"
)

// An Event reports one call with a key, after its outcome is known. The response may not have
// been sent yet. The event holds no key and no body.
type Event struct {
	Outcome Outcome

	// ID and Scope are hashes. They are zero if the call was refused before they were known.
	ID, Scope ID

	// Attempt is the number of the run: 1 for the first, more after a takeover, and 0 if the
	// call did not run.
	Attempt int

	// Waited is the time from the beginning of the call to its run or its answer.
	Waited time.Duration

	// Status is the status of the handler's response or of the recorded one. For a [Do], it
	// is 200 or the status of the error. It is 0 if this package refused the call or ran it
	// without protection, and if the handler did not return.
	Status int

	// Lost reports whether the call ran and its claim was taken over meanwhile. Outcome then
	// describes what the caller got.
	Lost bool

	// Err is the error with which this package answered, or the error that a [Do] returned.
	// If the handler's response was sent although the store failed or was full, Err is the
	// store's error. Otherwise it is nil.
	Err error
}
