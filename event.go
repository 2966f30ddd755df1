package seawall

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// Event describes a request whose handler has returned: see [AccessLogOptions]. It holds no path,
// query, header or body, because they can contain ids, keys and tokens.
type Event struct {
	// Method is the method of the request, as the client sent it: use it as a label of a metric
	// only if it is one that you know.
	Method string

	// Pattern is the pattern of the route, such as "GET /v1/resources/{id}". It is empty if no
	// route matched.
	Pattern string

	// Status is the status that was sent. It is 499 if the request was canceled before that, and
	// 0 if the connection was hijacked, or aborted before that.
	Status int

	// Bytes is the size of the response's body.
	Bytes int64

	// Duration is the time until the handler returned.
	Duration time.Duration

	// RequestID is the id that the client received. It is empty without a [RequestID].
	RequestID string

	// Code and Type are those of the error that was sent. They are empty if none was.
	Code apierror.Code
	Type apierror.Type

	// LateCode is the code of the last error that came too late to be sent.
	LateCode apierror.Code

	// Replayed reports whether the response was replayed for an Idempotency-Key. OriginalRequest
	// is then the id of the request that ran.
	Replayed        bool
	OriginalRequest string

	// Aborted reports whether the response was aborted.
	Aborted bool
}

// Route returns the pattern without its method, such as "/v1/resources/{id}". It is http.route of
// OpenTelemetry.
func (e *Event) Route() string {
	if method, route, ok := strings.Cut(e.Pattern, " "); ok && !strings.Contains(method, "/") {
		return strings.TrimLeft(route, " ")
	}
	return e.Pattern
}

// setError sets the fields that describe the error that was sent.
func (e *Event) setError(sent error) {
	e.Code = apierror.CodeOf(sent)
	if err, ok := errors.AsType[*apierror.Error](sent); ok {
		e.Type = err.Type()
	}
}

// setReplay sets the fields that the header of a response says about a replay.
func (e *Event) setReplay(h http.Header) {
	e.Replayed = len(h["Idempotent-Replayed"]) > 0
	if e.Replayed {
		e.OriginalRequest = h.Get("Original-Request")
	}
}
