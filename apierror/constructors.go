package apierror

import (
	"strconv"
	"strings"
	"time"
)

// ParameterMissing returns a parameter_missing error (400) that names the parameter.
func ParameterMissing(param string) *Error {
	e := CodeParameterMissing.New()
	e.message, e.param = "Missing required parameter: "+param+".", param
	return e
}

// ParameterInvalid returns a parameter_invalid error (400). problem completes a sentence
// that begins with the parameter's name, such as "must be a whole number". If problem is
// empty, the message says only that the parameter is invalid. problem must not quote the
// value, which may be a secret or hostile.
func ParameterInvalid(param, problem string) *Error {
	e := CodeParameterInvalid.New()
	e.message, e.param = "Invalid parameter: "+param+".", param
	if problem != "" {
		e.message = "Invalid parameter: " + param + " " + problem + "."
	}
	return e
}

// ResourceMissing returns a resource_missing error (404). resource is a kind of object,
// such as "customer".
func ResourceMissing(resource string) *Error {
	e := CodeResourceMissing.New()
	e.message = "No such " + resource + "."
	return e
}

// MethodNotAllowed returns a method_not_allowed error (405). Its Allow header lists the
// methods that the path supports.
func MethodNotAllowed(allow ...string) *Error {
	return CodeMethodNotAllowed.New().WithHeader("Allow", strings.Join(allow, ", "))
}

// RequestTooLarge returns a request_too_large error (413). limit is in bytes. If it is zero
// or negative, the message does not name it.
func RequestTooLarge(limit int64) *Error {
	e := CodeRequestTooLarge.New()
	if limit > 0 {
		e.message = "The request body is larger than the " + strconv.FormatInt(limit, 10) + " bytes allowed."
	}
	return e
}

// UnsupportedMediaType returns an unsupported_media_type error (415). Its Accept header
// lists the media types that the route reads (RFC 9110, section 15.5.16). If want is empty,
// it has no Accept header.
func UnsupportedMediaType(want ...string) *Error {
	e := CodeUnsupportedMediaType.New().WithParam("Content-Type")
	if len(want) == 0 {
		return e
	}
	e.message = "The Content-Type must be " + strings.Join(want, " or ") + "."
	return e.WithHeader("Accept", strings.Join(want, ", "))
}

// RateLimitExceeded returns a rate_limit_exceeded error (429). It asks the client to wait
// for retryAfter, as [Error.WithRetryAfter] does.
func RateLimitExceeded(retryAfter time.Duration) *Error {
	return CodeRateLimitExceeded.New().WithRetryAfter(retryAfter)
}

// ServiceUnavailable returns a service_unavailable error (503). It asks the client to wait
// for retryAfter, as [Error.WithRetryAfter] does.
func ServiceUnavailable(retryAfter time.Duration) *Error {
	return CodeServiceUnavailable.New().WithRetryAfter(retryAfter)
}
