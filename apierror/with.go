package apierror

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"
)

// copy returns a copy that no one else has seen. A nil *Error becomes api_error.
func (e *Error) copy() *Error {
	if e == nil {
		return CodeAPIError.New()
	}
	c := *e
	return &c
}

// WithMessage returns a copy with another public message.
func (e *Error) WithMessage(message string) *Error {
	c := e.copy()
	c.message = message
	return c
}

// WithParam returns a copy that names the parameter at fault, as the client spells it, such as
// "items[1].price", or "Idempotency-Key" for a header.
func (e *Error) WithParam(param string) *Error {
	c := e.copy()
	c.param = param
	return c
}

// WithCause returns a copy with a cause. It is only for the log: its text never reaches the client.
func (e *Error) WithCause(cause error) *Error {
	c := e.copy()
	c.cause = cause
	return c
}

// WithRetryAfter returns a copy that asks the client to wait for d before a retry. The
// Retry-After header has whole seconds, rounded up, and at least one. If d is zero or
// negative, the error does not ask for a wait. A 429 or a 503 is then sent with the
// Retry-After that the handler has set, or else with 1. An error that is not
// [Error.Retryable] is sent without it.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := e.copy()
	c.retryAfter = max(d, 0)
	return c
}

// WithNotRetryable returns a copy that tells clients not to retry, whatever its status. It is sent
// with X-Should-Retry: false and without Retry-After.
func (e *Error) WithNotRetryable() *Error {
	c := e.copy()
	c.notRetryable, c.retryAfter = true, 0
	return c
}

// WithMetadata returns a copy with one more entry of the "metadata" member, which the client sees.
func (e *Error) WithMetadata(key, value string) *Error {
	c := e.copy()
	d := c.ownDetails()
	d.metadata = maps.Clone(d.metadata)
	if d.metadata == nil {
		d.metadata = make(map[string]string, 1)
	}
	d.metadata[key] = value
	return c
}

// WithField returns a copy with one more entry of the "errors" member, for when several
// parameters are at fault. The error itself mirrors the first entry:
//
//   - an error with a param and without entries becomes the first entry;
//   - an error without a param takes the field's param. It also takes the field's code and
//     message, unless it was made from the service's own [Definition].
func (e *Error) WithField(f Field) *Error {
	c := e.copy()
	fields := c.details().fields
	if len(fields) == 0 {
		if c.param != "" {
			fields = []Field{{c.code, c.param, c.message}}
		} else {
			c.mirror(f)
		}
	}
	c.ownDetails().fields = append(slices.Clip(fields), f)
	return c
}

// mirror makes e, a copy that no one else has seen, an error about the field f. The
// service's own code stays, with its status and message.
func (e *Error) mirror(f Field) {
	e.param = f.Param
	if e.status != 0 && builtin.find(e.code) == nil {
		return
	}
	if d := builtin.find(f.Code); d != nil {
		e.typ, e.status = d.Type, d.Status
	} else if f.Code != "" {
		e.status = 0 // the catalog decides; if it does not have the code, the type does
	}
	e.code, e.message = cmp.Or(f.Code, e.code), cmp.Or(f.Message, e.message)
}

// WithHeader returns a copy that sends one more response header, such as WWW-Authenticate
// or Location. A second call with the same key adds a value. The values replace those that
// the handler has set. Headers that every error has, and those that describe the body,
// cannot be set.
func (e *Error) WithHeader(key, value string) *Error {
	c := e.copy()
	d := c.ownDetails()
	d.header = d.header.Clone()
	if d.header == nil {
		d.header = make(http.Header, 1)
	}
	d.header.Add(key, value)
	return c
}
