package retry

// A Reason says why a call ended, that is, why there was no further attempt.
type Reason string

// The reasons for the end of a call.
const (
	// ReasonSucceeded: there was a response with a status below 400 or, in [Do], no
	// error.
	ReasonSucceeded Reason = "succeeded"
	// ReasonNotRetryable: the policy does not retry this status or error.
	ReasonNotRetryable Reason = "not-retryable"
	// ReasonToldNotTo: the server sent X-Should-Retry: false, as a service that uses package
	// apierror does with most 4xx errors, or the function of [Do] returned a [Permanent]
	// error.
	ReasonToldNotTo Reason = "told-not-to"
	// ReasonNotIdempotent: a write without an Idempotency-Key may have reached the server.
	ReasonNotIdempotent Reason = "not-idempotent"
	// ReasonBodyNotReplayable: the request has a body but no GetBody, and the body was
	// not recorded, or more of it was sent than [Policy.RecordBody] allows.
	ReasonBodyNotReplayable Reason = "body-not-replayable"
	// ReasonBodyFailed: the request's body or GetBody returned an error, or the body does not
	// have the request's ContentLength.
	ReasonBodyFailed Reason = "body-failed"
	// ReasonInvalidRequest: the request's method, header or URL cannot be sent.
	ReasonInvalidRequest Reason = "invalid-request"
	// ReasonAlreadyRetried: another Transport, in Base or in the function of [Do], has
	// stopped retrying.
	ReasonAlreadyRetried Reason = "already-retried"
	// ReasonAttemptsExhausted: the call has made MaxAttempts attempts.
	ReasonAttemptsExhausted Reason = "attempts-exhausted"
	// ReasonBudgetExhausted: the [Budget] of the request's group is used up.
	ReasonBudgetExhausted Reason = "budget-exhausted"
	// ReasonRetryAfterTooLong: the server asked for a wait longer than MaxRetryAfter.
	ReasonRetryAfterTooLong Reason = "retry-after-too-long"
	// ReasonDeadlineTooSoon: the context's deadline comes before the next attempt could start.
	ReasonDeadlineTooSoon Reason = "deadline-too-soon"
	// ReasonCircuitOpen: the [Breaker] refused the attempt.
	ReasonCircuitOpen Reason = "circuit-open"
	// ReasonCanceled: the request's context was canceled, its deadline passed, or the
	// request's Cancel channel was closed.
	ReasonCanceled Reason = "canceled"
)
