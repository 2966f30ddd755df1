package apierror

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Type groups errors into broad categories, as the "type" member of the error object does. It is
// an error itself, so that a whole category can be asked for, as a class is in other languages:
// errors.Is(err, apierror.TypeInvalidRequest).
type Type string

// The types of the specification. There are no others: a service's own codes belong to one of
// these.
const (
	TypeInvalidRequest Type = "invalid_request_error"
	TypeAuthentication Type = "authentication_error"
	TypePermission     Type = "permission_error"
	TypeIdempotency    Type = "idempotency_error"
	TypeRateLimit      Type = "rate_limit_error"
	TypeAPI            Type = "api_error"
)

// Error returns the type as it goes over the wire.
func (t Type) Error() string { return string(t) }

// status is the status of an error of which nothing but its type is known.
func (t Type) status() int {
	switch t {
	case TypeInvalidRequest:
		return http.StatusBadRequest
	case TypeAuthentication:
		return http.StatusUnauthorized
	case TypePermission:
		return http.StatusForbidden
	case TypeIdempotency:
		return http.StatusConflict
	case TypeRateLimit:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}

func (t Type) known() bool { return t == TypeAPI || t.status() != http.StatusInternalServerError }

// typeOfStatus is the category of a response that names none itself.
func typeOfStatus(status int) Type {
	switch {
	case status == http.StatusUnauthorized:
		return TypeAuthentication
	case status == http.StatusForbidden:
		return TypePermission
	case status == http.StatusTooManyRequests:
		return TypeRateLimit
	case status >= 400 && status < 500:
		return TypeInvalidRequest
	default:
		return TypeAPI
	}
}

// Code identifies the specific problem, as the "code" member of the error object does. It is an
// error itself: a handler may return one, which answers with the catalog's default message, and
// a client asks for one with errors.Is(err, apierror.CodeParameterMissing).
type Code string

// The codes of the specification.
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

// The codes that Seawall adds for what the specification leaves open. Renderer.Strict folds them
// into the ones above.
const (
	CodeMethodNotAllowed               Code = "method_not_allowed"               // 405: the path exists, the method does not
	CodeRequestTooLarge                Code = "request_too_large"                // 413: the body is over the limit
	CodeUnsupportedMediaType           Code = "unsupported_media_type"           // 415: the route does not read such a body
	CodeIdempotencyInProgress          Code = "idempotency_in_progress"          // 429: the first request with the key still runs
	CodeIdempotencyOutcomeUnknown      Code = "idempotency_outcome_unknown"      // 409: the first failed after its point of no return
	CodeIdempotencyResponseUnavailable Code = "idempotency_response_unavailable" // 409: it ran, but its response was not kept
	CodeServiceUnavailable             Code = "service_unavailable"              // 503: overload, or a dependency that is down
	CodeTimeout                        Code = "timeout"                          // 504: the server's own deadline passed
)

// Error returns the code as it goes over the wire.
func (c Code) Error() string { return string(c) }

// Is reports whether errors.Is finds in c what it finds in the error that c stands for: its
// [Type] and its [Definition].
func (c Code) Is(target error) bool { return c.new().Is(target) }

// New returns an error of this code with the catalog's default message.
func (c Code) New() *Error { return c.new() }

// Messagef returns an error of this code whose public message is the formatted text. What the
// client must not see goes into [Error.WithCause]: a format with %w is refused this use, "(see
// the log)" stands in place of each error then. For a code that is not built in, prefer
// [Definition.Messagef], which knows the type and status.
func (c Code) Messagef(format string, args ...any) *Error {
	e := c.new()
	e.message = publicText(format, args)
	return e
}

// publicText is fmt.Sprintf with nothing in place of an error that a %w names: a cause is for
// the log.
func publicText(format string, args []any) string {
	if !strings.Contains(format, "w") { // as nearly all
		return fmt.Sprintf(format, args...)
	}
	var causes []error
	switch wrapped := fmt.Errorf(format, args...).(type) {
	case interface{ Unwrap() error }:
		causes = []error{wrapped.Unwrap()}
	case interface{ Unwrap() []error }:
		causes = wrapped.Unwrap()
	}
	if len(causes) == 0 {
		return fmt.Sprintf(format, args...)
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = hiddenCause{err}
		}
	}
	return fmt.Errorf(format, args...).Error()
}

// hiddenCause is an error without a text.
type hiddenCause struct{ error }

func (hiddenCause) Error() string { return "(see the log)" }

// new returns an error with what the built-in catalog says of the code. For a code that it does
// not hold, type, status and message stay open until a Renderer's catalog fills them.
func (c Code) new() *Error {
	if d := builtin.find(c); d != nil {
		return d.New()
	}
	return &Error{code: c}
}

// after is new and WithRetryAfter, without the copy.
func (c Code) after(d time.Duration) *Error {
	e := c.new()
	e.retryAfter = max(d, 0)
	return e
}
