package idempotent

import "time"

// A Result is how a request with a key was answered. Its text is fit for a metric's label.
type Result string

// The results.
const (
	Executed       Result = "executed"             // the handler ran, its response is recorded
	RanSealed      Result = "sealed"               // the handler ran, its response was too large or streamed to be kept
	RanReleased    Result = "released"             // the handler failed, or could not begin; the key is free again
	RanUnknown     Result = "unknown"              // the handler ran and failed after its point of no return
	RanUnrecorded  Result = "unrecorded"           // the handler ran, and the store could not be told
	RanUnprotected Result = "unprotected"          // the store was down and the handler ran without it (Options.FailOpen)
	Replayed       Result = "replayed"             // the recorded response was sent
	Conflict       Result = "conflict"             // 409: the key belongs to another request
	InProgress     Result = "in_progress"          // 429: the first was still running when the wait was over, or too many waited
	LeaderFailed   Result = "leader_failed"        // 503: the first, which this one waited for, failed
	OutcomeUnknown Result = "outcome_unknown"      // 409: an earlier one failed after its point of no return
	Unavailable    Result = "response_unavailable" // 409: it ran, and its response was not kept
	StoreFailed    Result = "store_failed"         // 503: the store was down or full
	OverQuota      Result = "over_quota"           // 429: the principal's share of the store is used up
	Refused        Result = "refused"              // 4xx before anything was recorded: a bad key, body, or caller
)

// An Event tells of one request with a key, once it has been decided (the response may still be on its way). It holds no
// key and no body.
type Event struct {
	Result Result
	// ID and Scope are hashes, zero where the request was refused before they were known.
	ID, Scope ID
	// Attempt is the number of the handler's run, more than 1 after a takeover; 0 where it did not run.
	Attempt int
	// Waited is the time between the request's coming and its answer or its run.
	Waited time.Duration
	// Status is the handler's or the replayed one, 0 for a refusal by this package.
	Status int
	// Lost says that the handler ran and its claim was meanwhile taken over: Result is what its client got then.
	Lost bool
	// Err is the error that was answered, with the store's as its cause, or the one of a recording that failed; nil where all
	// went well.
	Err error
}
