package idempotent

import "time"

// An Outcome is how a keyed call was answered. Its text is fit for a metric's label.
type Outcome string

// The outcomes of calls that ran.
const (
	// OutcomeExecuted: its response is recorded.
	OutcomeExecuted Outcome = "executed"
	// OutcomeNotKept: its response was too large or streamed, or the store had no room for it.
	OutcomeNotKept Outcome = "not_kept"
	// OutcomeReleased: it failed or could not begin, and the key is free again.
	OutcomeReleased Outcome = "released"
	// OutcomeUnknown: it failed after its effect had begun.
	OutcomeUnknown Outcome = "unknown"
	// OutcomeUnrecorded: the store could not be told how it ended.
	OutcomeUnrecorded Outcome = "unrecorded"
	// OutcomeBypassed: it ran without protection, because the store failed. See [FailOpen].
	OutcomeBypassed Outcome = "bypassed"
)

// The outcomes of calls that did not run, with the status of the answer.
const (
	// OutcomeReplayed: the recorded response was sent.
	OutcomeReplayed Outcome = "replayed"
	// OutcomeConflict: 409, the key belongs to a different request.
	OutcomeConflict Outcome = "conflict"
	// OutcomeInProgress: 429, the first one still ran when the wait was over, or too many waited.
	OutcomeInProgress Outcome = "in_progress"
	// OutcomeLeaderFailed: 503, the first one failed while this one waited.
	OutcomeLeaderFailed Outcome = "leader_failed"
	// OutcomeStillUnknown: 409, an earlier one failed after its effect had begun, and no one has
	// resolved it.
	OutcomeStillUnknown Outcome = "outcome_unknown"
	// OutcomeUnavailable: 409, an earlier one ran, and its response was not kept.
	OutcomeUnavailable Outcome = "response_unavailable"
	// OutcomeStoreFailed: 503, the store failed.
	OutcomeStoreFailed Outcome = "store_failed"
	// OutcomeStoreFull: 503, the store has no room for another record.
	OutcomeStoreFull Outcome = "store_full"
	// OutcomeOverQuota: 429, the principal's share of the store is used up.
	OutcomeOverQuota Outcome = "over_quota"
	// OutcomeRefused: an error before anything was recorded: a bad key, body, or caller.
	OutcomeRefused Outcome = "refused"
)

// An Event tells of one keyed call, once it has been decided. Its response may still be on its
// way. It holds no key and no body.
type Event struct {
	Outcome Outcome
	// ID and Scope are hashes. They are zero if the call was refused before they were known.
	ID, Scope ID
	// Attempt is the number of the run: more than 1 after a takeover, 0 if it did not run.
	Attempt int
	// Waited is the time between the call's beginning and its answer or its run.
	Waited time.Duration
	// Status is that of the handler's or the recorded response, or of the error of a [Do]. It is
	// 0 for a refusal by this package, and if the handler did not return.
	Status int
	// Lost says that the call ran, and its claim was meanwhile taken over. Outcome is what the
	// caller got then.
	Lost bool
	// Err is the error that this package has answered with, with the store's as its cause, the
	// one of a recording that failed, or the one that a [Do] has returned. It is nil if the
	// handler's own response went out, whatever that was.
	Err error
}
