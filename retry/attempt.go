package retry

import (
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// An Attempt is the record of one time that a request was sent, or that [Do] called its function.
type Attempt struct {
	// Number counts from 1.
	Number int

	// Status is that of the response, 0 where there was none.
	Status int

	// Err is nil for a status under 400, an [*apierror.Error] for any other one, and else the error of the base transport.
	// In [Do] it is what the function returned.
	Err error

	// Code and RequestID are those of the response. The code is known where the error body was JSON and had arrived, up to
	// 64 KiB, within 50 ms.
	Code      apierror.Code
	RequestID string

	// Elapsed is the time from sending to the response's header, or to the error.
	Elapsed time.Duration

	// Delay is the wait that was to follow, and Source where it came from. Both are zero where no further attempt was meant.
	Delay  time.Duration
	Source DelaySource
}

// sent is an Attempt of a Transport. What its response says of the error is read when somebody asks: that costs more than all the
// rest, and once a repetition has succeeded nobody may ever ask.
type sent struct {
	Attempt
	resp *http.Response // whose error is not in Err, Code and RequestID yet
}

// read reads the error that the response to req holds, unless that was done.
func (s *sent) read(req *http.Request) {
	if s.resp == nil {
		return
	}
	e := parseError(s.resp, req)
	s.Err, s.Code, s.RequestID, s.resp = e, e.Code(), e.RequestID(), nil
}

// maxHistory bounds the record of a call without a limit on its attempts.
const maxHistory = 100

// remember adds an attempt to a record, which may cost it the oldest one.
func remember[T any](attempts []T, a T) []T {
	if len(attempts) == maxHistory {
		attempts = slices.Delete(attempts, 0, 1)
	}
	return append(attempts, a)
}

// A DelaySource says what a delay was derived from.
type DelaySource string

// The sources of a delay.
const (
	FromBackoff    DelaySource = "backoff"
	FromRetryAfter DelaySource = "retry-after" // the server's own word, and some jitter
)

// A Reason says why there was no further attempt.
type Reason string

// The reasons.
const (
	// Succeeded: there was a response with a status under 400.
	Succeeded Reason = "succeeded"
	// NotRetryable: the status or the error is of a kind that a repetition does not change.
	NotRetryable Reason = "not-retryable"
	// ToldNotTo: the server said X-Should-Retry: false, or the function of [Do] returned a [Permanent] error.
	ToldNotTo Reason = "told-not-to"
	// NotIdempotent: a write without an Idempotency-Key, which may have been carried out.
	NotIdempotent Reason = "not-idempotent"
	// BodyNotReplayable: the request has a body, but no GetBody, and was not recorded or is larger than what may be.
	BodyNotReplayable Reason = "body-not-replayable"
	// BodyFailed: the caller's body or GetBody returned an error.
	BodyFailed Reason = "body-failed"
	// InvalidRequest: the request has a method, header or URL that cannot be sent.
	InvalidRequest Reason = "invalid-request"
	// AttemptsExhausted: MaxAttempts were made.
	AttemptsExhausted Reason = "attempts-exhausted"
	// BudgetExhausted: the [Budget] for this host is used up.
	BudgetExhausted Reason = "budget-exhausted"
	// RetryAfterTooLong: the server asked for a wait that is over MaxRetryAfter.
	RetryAfterTooLong Reason = "retry-after-too-long"
	// DeadlineTooSoon: the context's deadline comes before the next attempt could.
	DeadlineTooSoon Reason = "deadline-too-soon"
	// CircuitOpen: the [Breaker] refuses the host.
	CircuitOpen Reason = "circuit-open"
	// Canceled: the caller's context ended, by its deadline too.
	Canceled Reason = "canceled"
)
