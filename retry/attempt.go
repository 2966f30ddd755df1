package retry

import (
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
)

// An Attempt is the record of one time that a request was sent, or that [Do] called its function.
type Attempt struct {
	// Number counts from 1.
	Number int

	// Status is the response's status. It is 0 if there was none.
	Status int

	// Err is nil for a status under 400 and an [*apierror.Error] for any other status. Without a
	// response it is the error of the base transport. In [Do] it is what the function returned.
	Err error

	// Code and RequestID are those of the error response, RequestID those of a success too.
	// RequestID comes from the header. Code comes from a JSON body, if the Transport has read
	// it: see [Transport]. Both are one line of at most 128 bytes, without control or format
	// characters.
	Code      apierror.Code
	RequestID string

	// Elapsed is the time from sending to the response's header, or to the error.
	Elapsed time.Duration

	// RetryAfter is how long the server asked to wait. It is 0 if the server named no time.
	RetryAfter time.Duration

	// Delay is the wait before the next attempt. It is 0 if there was to be none.
	Delay time.Duration
}

// sent is an Attempt of a Transport. What its response says of the error is parsed when somebody
// asks: that costs more than all the rest, and once a retry has succeeded nobody may ever ask.
type sent struct {
	Attempt
	fault Reason // of an error that is not the host's

	unparsed bool        // the response's error is not in Err, Code and RequestID yet
	header   http.Header // of the response
	head     []byte      // what was read of its body
}

// parse parses the error that the response to req holds, unless that was done.
func (s *sent) parse(req *http.Request) {
	if !s.unparsed {
		return
	}
	e := parseError(s.Status, s.header, s.head, req)
	s.Err = e
	s.name(e)
	s.unparsed, s.header, s.head = false, nil, nil
}

// known returns the attempt as far as its response was read by now. More of it may be read
// later, if it is thrown away.
func (s *sent) known(req *http.Request) Attempt {
	now := *s
	now.parse(req)
	return now.Attempt
}

// name sets what an error response is known by.
func (a *Attempt) name(e *apierror.Error) {
	a.Code = apierror.Code(plain.Text(string(e.Code()), maxID))
	a.RequestID = plain.Text(e.RequestID(), maxID)
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

// A Reason says why there was no further attempt.
type Reason string

// The reasons.
const (
	// ReasonSucceeded: there was a response with a status under 400.
	ReasonSucceeded Reason = "succeeded"
	// ReasonNotRetryable: the status or the error is of a kind that a retry does not change.
	ReasonNotRetryable Reason = "not-retryable"
	// ReasonToldNotTo: the server said X-Should-Retry: false, or the function of [Do] returned a
	// [Permanent] error.
	ReasonToldNotTo Reason = "told-not-to"
	// ReasonNotIdempotent: a write without an Idempotency-Key, which may have been carried out.
	ReasonNotIdempotent Reason = "not-idempotent"
	// ReasonBodyNotReplayable: the request has a body, but no GetBody, and was not recorded or is
	// larger than what may be.
	ReasonBodyNotReplayable Reason = "body-not-replayable"
	// ReasonBodyFailed: the caller's body or GetBody returned an error, or the body has another length
	// than the request says.
	ReasonBodyFailed Reason = "body-failed"
	// ReasonInvalidRequest: the request has a method, header or URL that cannot be sent.
	ReasonInvalidRequest Reason = "invalid-request"
	// ReasonAlreadyRetried: a Transport further in, below Base or in the function of [Do], has given up.
	ReasonAlreadyRetried Reason = "already-retried"
	// ReasonAttemptsExhausted: MaxAttempts were made.
	ReasonAttemptsExhausted Reason = "attempts-exhausted"
	// ReasonBudgetExhausted: the [Budget] for this host is used up.
	ReasonBudgetExhausted Reason = "budget-exhausted"
	// ReasonRetryAfterTooLong: the server asked for a wait that is over MaxRetryAfter.
	ReasonRetryAfterTooLong Reason = "retry-after-too-long"
	// ReasonDeadlineTooSoon: the context's deadline comes before the next attempt could.
	ReasonDeadlineTooSoon Reason = "deadline-too-soon"
	// ReasonCircuitOpen: the [Breaker] refuses the host.
	ReasonCircuitOpen Reason = "circuit-open"
	// ReasonCanceled: the caller's context ended, by its deadline too, or its Request.Cancel was closed.
	ReasonCanceled Reason = "canceled"
)
