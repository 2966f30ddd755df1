package retry

import (
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
)

// An Attempt describes one sending of a request, or one call of the function in [Do].
type Attempt struct {
	// Number counts from 1.
	Number int

	// Status is the response's status. It is 0 if there was no response.
	Status int

	// Err is nil for a status below 400, and an [*apierror.Error] for any other status.
	// If there was no response, it is the error of the base transport. In [Do], it is the
	// error of the function.
	Err error

	// Code is the code of the error response. It is set only if the Transport has read the
	// body, and the body is JSON: see [Transport]. To have the bodies of all errors read,
	// set [Policy.Retryable] to [DefaultRetryable]. The code is one line of at most 128
	// bytes.
	Code apierror.Code

	// RequestID is the response's request id. It comes from the Request-Id header, or
	// else from the body, as Code does, or else from the X-Request-Id header. It is one
	// line of at most 128 bytes.
	RequestID string

	// Held is how long the attempt waited before it was sent, for [Transport.Pace] or because
	// of [Policy.HoldHost]. It is 0 if it did not have to wait.
	Held time.Duration

	// Elapsed is the time from sending the request to the response's header or the error.
	Elapsed time.Duration

	// RetryAfter is how long the server asked the client to wait. It is 0 if the server
	// did not ask for a wait.
	RetryAfter time.Duration

	// Delay is the wait before the next attempt. It is 0 if there is no next attempt.
	Delay time.Duration
}

// describe sets the code and the request id of the attempt's error.
func (a *Attempt) describe(e *apierror.Error) {
	a.Code = apierror.Code(plain.Text(string(e.Code()), maxID))
	a.RequestID = plain.Text(e.RequestID(), maxID)
}

// describeResponse sets Err, Code and RequestID from an error response: from its header
// and from the part of its body that was read.
func (a *Attempt) describeResponse(resp *http.Response, body []byte, req *http.Request) {
	e := parseError(resp, body, req)
	a.Err = e
	a.describe(e)
}

// maxHistory bounds the record of a call that has no limit on its attempts.
const maxHistory = 100

// remember adds an attempt to a history. If the history is full, it drops the oldest
// attempt.
func remember(history []Attempt, a Attempt) []Attempt {
	if len(history) == maxHistory {
		history = slices.Delete(history, 0, 1)
	}
	return append(history, a)
}
