package retry

import (
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
)

// An Attempt describes one time that a request was sent, or that [Do] called its function.
type Attempt struct {
	// Number counts from 1.
	Number int

	// Status is the response's status. It is 0 if there was no response.
	Status int

	// Err is nil for a status under 400 and an [*apierror.Error] for any other status.
	// Without a response it is the error of the base transport. In [Do] it is what the
	// function returned.
	Err error

	// Code is the code of the error response. It comes from a JSON body, if the Transport
	// has read that: see [Transport]. It is one line of at most 128 bytes.
	Code apierror.Code

	// RequestID is the response's request id: that of the Request-Id header, else that of
	// the same body as Code, else that of the X-Request-Id header. It is one line of at most
	// 128 bytes.
	RequestID string

	// Elapsed is the time from sending the request to the response's header or the error.
	Elapsed time.Duration

	// RetryAfter is how long the server asked to wait. It is 0 if the server named no time.
	RetryAfter time.Duration

	// Delay is the wait before the next attempt. It is 0 if there was to be none.
	Delay time.Duration
}

// describe sets what the attempt's error is known by.
func (a *Attempt) describe(e *apierror.Error) {
	a.Code = apierror.Code(plain.Text(string(e.Code()), maxID))
	a.RequestID = plain.Text(e.RequestID(), maxID)
}

// describeResponse sets what is known of an error response, from its header and from what was
// read of its body.
func (a *Attempt) describeResponse(resp *http.Response, body []byte, req *http.Request) {
	e := parseError(resp, body, req)
	a.Err = e
	a.describe(e)
}

// maxHistory bounds the record of a call that has no limit on its attempts.
const maxHistory = 100

// remember adds an attempt to a history, from which the oldest one goes if it is full.
func remember(history []Attempt, a Attempt) []Attempt {
	if len(history) == maxHistory {
		history = slices.Delete(history, 0, 1)
	}
	return append(history, a)
}
