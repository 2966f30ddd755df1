package apierror

import (
	"strconv"
	"strings"
	"time"
)

// ParameterMissing says that a required parameter was not supplied: 400.
func ParameterMissing(param string) *Error {
	e := CodeParameterMissing.new()
	e.message, e.param = "Missing required parameter: "+param+".", param
	return e
}

// ParameterInvalid says that a parameter had the wrong type or value: 400. The problem completes a sentence that begins with
// the parameter's name ("must be a whole number"); "" says only that it is invalid. It must not quote the value: what a client
// sent may be a secret, or hostile.
func ParameterInvalid(param, problem string) *Error {
	e := CodeParameterInvalid.new()
	e.message, e.param = "Invalid parameter: "+param+".", param
	if problem != "" {
		e.message = "Invalid parameter: " + param + " " + problem + "."
	}
	return e
}

// ResourceMissing says that no object exists with the given id: 404. The resource is the kind of object, such as "customer".
func ResourceMissing(resource string) *Error {
	e := CodeResourceMissing.new()
	e.message = "No such " + resource + "."
	return e
}

// RateLimitExceeded says that the caller must wait: 429, with Retry-After in whole seconds, rounded up.
func RateLimitExceeded(retryAfter time.Duration) *Error {
	return CodeRateLimitExceeded.after(retryAfter)
}

// MethodNotAllowed says that the path exists and the method does not: 405, with the methods that do in Allow.
func MethodNotAllowed(allow ...string) *Error {
	return CodeMethodNotAllowed.new().WithHeader("Allow", strings.Join(allow, ", "))
}

// RequestTooLarge says that the body has more than limit bytes: 413. A limit of zero or less is not named.
func RequestTooLarge(limit int64) *Error {
	e := CodeRequestTooLarge.new()
	if limit > 0 {
		e.message = "The request body is larger than the " + strconv.FormatInt(limit, 10) + " bytes allowed."
	}
	return e
}

// UnsupportedMediaType says that the route does not read a body of this type: 415. The types that it reads go into Accept
// (RFC 9110, section 15.5.16).
func UnsupportedMediaType(want ...string) *Error {
	e := CodeUnsupportedMediaType.new()
	if len(want) > 0 {
		list := strings.Join(want, ", ")
		e.message = "The Content-Type must be " + list + "."
		e = e.WithHeader("Accept", list)
	}
	e.param = "Content-Type"
	return e
}

// ServiceUnavailable says that the service cannot answer now: 503, with Retry-After in whole seconds, rounded up.
func ServiceUnavailable(retryAfter time.Duration) *Error {
	return CodeServiceUnavailable.after(retryAfter)
}
