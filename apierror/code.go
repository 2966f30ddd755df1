package apierror

import (
	"fmt"
	"slices"
)

// Code identifies the specific problem: the "code" member of the error object. A Code is an
// error itself. A handler may return one, which is sent with the catalog's default message.
// A client checks for one with errors.Is:
//
//	errors.Is(err, apierror.CodeParameterMissing)
type Code string

// The core codes.
const (
	CodeParameterMissing     Code = "parameter_missing"     // 400: a required parameter was not supplied
	CodeParameterInvalid     Code = "parameter_invalid"     // 400: a parameter had the wrong type or value
	CodeResourceMissing      Code = "resource_missing"      // 404: no object exists with the given id
	CodeAuthenticationFailed Code = "authentication_failed" // 401: the API key is missing, malformed or revoked
	CodePermissionDenied     Code = "permission_denied"     // 403: the key is valid but lacks the required scope
	CodeIdempotencyConflict  Code = "idempotency_conflict"  // 409: an idempotency key was reused with a different body
	CodeRateLimitExceeded    Code = "rate_limit_exceeded"   // 429: too many requests in a short window
	CodeAPIError             Code = "api_error"             // 500: an unexpected error occurred on our side
)

// The codes that Seawall adds to the core codes. [Renderer.Strict] sends the nearest core
// code instead.
const (
	CodeMethodNotAllowed               Code = "method_not_allowed"               // 405: the path exists, the method does not
	CodeRequestTooLarge                Code = "request_too_large"                // 413: the body is over the limit
	CodeUnsupportedMediaType           Code = "unsupported_media_type"           // 415: the route does not read such a body
	CodeIdempotencyInProgress          Code = "idempotency_in_progress"          // 429: the first request with the key is still running
	CodeIdempotencyOutcomeUnknown      Code = "idempotency_outcome_unknown"      // 409: the first request failed after its point of no return
	CodeIdempotencyResponseUnavailable Code = "idempotency_response_unavailable" // 409: the first request ran, but its response was not kept
	CodeServiceUnavailable             Code = "service_unavailable"              // 503: overload, or a dependency that is down
	CodeTimeout                        Code = "timeout"                          // 504: the server's own deadline passed
)

// Error returns the code as it is on the wire.
func (c Code) Error() string { return string(c) }

// Is reports whether target is the code's [Type] or a [Definition] of it, for errors.Is.
func (c Code) Is(target error) bool { return c.New().Is(target) }

// New returns an error of this code. Its type, status and message are those of the built-in
// catalog. If that catalog does not have the code, the catalog of the [Renderer] supplies
// them when the error is sent.
func (c Code) New() *Error {
	if d := builtin.find(c); d != nil {
		return d.New()
	}
	return &Error{code: c}
}

// Messagef returns an error of this code with a message that the client reads. Text that
// the client must not see belongs in [Error.WithCause].
//
// If the format has a %w, every error among the arguments becomes "(see the log)" in the
// message. The cause is then the error that fmt.Errorf returns, which has the whole text.
//
// For your own codes, prefer [Definition.Messagef], which knows the type and the status.
func (c Code) Messagef(format string, args ...any) *Error {
	e := c.New()
	e.message, e.cause = publicText(format, args)
	return e
}

// publicText returns the message that a format makes of args. If it has a %w, the errors among
// args are hidden in the message, and the cause has them.
func publicText(format string, args []any) (message string, cause error) {
	err := fmt.Errorf(format, args...)
	if !wraps(err) {
		return err.Error(), nil
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if _, ok := arg.(error); ok {
			args[i] = hiddenCause{}
		}
	}
	return fmt.Errorf(format, args...).Error(), err
}

// wraps reports whether the format of an error from fmt.Errorf had a %w. What it wraps is nil if
// the argument was nil or not an error.
func wraps(err error) bool {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		return true
	default:
		return false
	}
}

// hiddenCause takes the place of an error whose text is hidden. It holds nothing, so that no verb
// can print more.
type hiddenCause struct{}

func (hiddenCause) Error() string { return "(see the log)" }
