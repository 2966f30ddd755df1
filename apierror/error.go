package apierror

import (
	"cmp"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Error is one failed request: on a server what goes out, on a client what came in. It never
// changes: the With… methods return copies, so one Error may be a package variable and be used
// by many goroutines. It is only ever handled as *Error; the methods of a nil *Error answer as
// those of the zero Error do, which is rendered as api_error.
//
// What the client sees (Message, Param, Fields, Metadata) and what the log sees (Cause) are
// different fields. Nothing of the cause goes over the wire.
type Error struct {
	code         Code
	typ          Type // "" where only a catalog knows
	status       int  // 0 where only a catalog knows
	message      string
	param        string
	requestID    string
	retryAfter   time.Duration
	notRetryable bool // although the status may be one that clients retry
	cause        error
	more         *details // shared by copies, so it is never written to; nil for none
}

// details are what few errors have. The others are smaller for it: each request that fails
// copies one.
type details struct {
	docURL   string
	fields   []Field
	metadata map[string]string
	header   http.Header
	problem  *problem
	origin   origin
}

var noDetails details

// details are not to be written to.
func (e *Error) details() *details {
	if e == nil || e.more == nil {
		return &noDetails
	}
	return e.more
}

// ownDetails gives e, a copy that nobody else has seen, details that may be written to.
func (e *Error) ownDetails() *details {
	d := *e.details()
	e.more = &d
	return &d
}

// Field is one of several parameters that are at fault, as in the "errors" member of the error
// object.
type Field struct {
	Code    Code
	Param   string
	Message string
}

// Code is the code, "" where a parsed response named none.
func (e *Error) Code() Code {
	if e == nil {
		return ""
	}
	return e.code
}

// Type is the type. Where neither the error nor the built-in catalog knows one it is api_error.
func (e *Error) Type() Type {
	if e == nil || e.typ == "" {
		return TypeAPI
	}
	return e.typ
}

// Status is the HTTP status with which the error goes out, or with which it came in.
func (e *Error) Status() int {
	if e == nil || e.status == 0 {
		return e.Type().status()
	}
	return e.status
}

// Message is the text for the caller's developer.
func (e *Error) Message() string {
	if e == nil {
		return ""
	}
	return e.message
}

// Param is the parameter at fault, spelled as the caller spells it; "" where it is not one
// parameter.
func (e *Error) Param() string {
	if e == nil {
		return ""
	}
	return e.param
}

// RequestID is the id of the request that failed. On the server it is known once the error was
// rendered.
func (e *Error) RequestID() string {
	if e == nil {
		return ""
	}
	return e.requestID
}

// DocURL is the link to the code's documentation that the server sent, "" for none.
func (e *Error) DocURL() string { return e.details().docURL }

// Fields is a copy of the parameters at fault when there are several; the first of them is the
// error's own Param.
func (e *Error) Fields() []Field { return slices.Clone(e.details().fields) }

// Metadata is a copy of what the service says beyond the message; nil for nothing.
func (e *Error) Metadata() map[string]string { return maps.Clone(e.details().metadata) }

// RetryAfter is how long the server asks to wait before a repetition; 0 where it does not say.
func (e *Error) RetryAfter() time.Duration {
	if e == nil {
		return 0
	}
	return e.retryAfter
}

// Retryable reports whether a retry of the same request may have another result: the status is
// 429, or 5xx but not 501, and neither the error nor its definition is NotRetryable.
func (e *Error) Retryable() bool {
	if e == nil {
		return true
	}
	return !e.notRetryable && retryableStatus(e.Status())
}

// retryableStatus is retryhint.Retryable for errors that may not be complete: one without a
// valid status is sent as a 500.
func retryableStatus(status int) bool {
	return retryhint.Retryable(status) || status < 400 || status > 599
}

// isZero reports whether nothing was said: such an error, as a nil one, goes out as api_error.
func (e *Error) isZero() bool { return e.code == "" && e.typ == "" && e.status == 0 }

// FromServer reports whether the error is another service's: Parse found an error object in a
// response. It is false for an error that was made here, and for a response whose body some
// proxy wrote.
func (e *Error) FromServer() bool { return e.details().origin.object }

// parsed reports whether the error is of a response.
func (e *Error) parsed() bool { return e.details().origin.parsed }

// Cause is what WithCause was given: for the log alone. Nil where there is none.
func (e *Error) Cause() error {
	if e == nil {
		return nil
	}
	return e.cause
}

// Unwrap returns the cause, so that errors.Is and errors.As find what is in it.
func (e *Error) Unwrap() error { return e.Cause() }

// Is reports whether the error is of a [Code], a [Definition] or a [Type].
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Code:
		return e != nil && t != "" && e.code == t
	case Definition:
		return e.Is(t.Code)
	case *Definition:
		return t != nil && e.Is(t.Code)
	case Type:
		return e != nil && e.Type() == t
	default:
		return false
	}
}

// Error is one line for a log: code, message, what else is known, and the cause, without the
// userinfo and query of any URL in the cause. It is not for the client: use Message.
func (e *Error) Error() string {
	if e == nil {
		return "apierror: nil *Error"
	}
	var b strings.Builder
	if e.parsed() && e.status != 0 {
		b.WriteString(e.more.origin.line())
		b.WriteString(strconv.Itoa(e.status))
		b.WriteByte(' ')
	}
	b.WriteString(oneLine(string(e.code), maxCode))
	if e.code == "" {
		b.WriteString(oneLine(string(e.Type()), maxCode))
	}
	if e.message != "" {
		b.WriteString(": ")
		b.WriteString(oneLine(e.message, maxMessage))
	}
	separator := " ("
	for _, detail := range [...]struct{ name, value string }{{"param ", e.param}, {"request ", e.requestID}} {
		if detail.value != "" {
			b.WriteString(separator)
			b.WriteString(detail.name)
			b.WriteString(oneLine(detail.value, maxParam))
			separator = ", "
		}
	}
	if separator == ", " {
		b.WriteByte(')')
	}
	if e.cause != nil {
		b.WriteString(": ")
		b.WriteString(oneLine(plain.ErrorText(e.cause), maxMessage))
	}
	return b.String()
}

// LogValue is a group of code, type, status, param, request_id and cause.
func (e *Error) LogValue() slog.Value { return slog.GroupValue(e.attrs(plain.ErrorText)...) }

// attrs are the attributes of a log record; redact writes the cause.
func (e *Error) attrs(redact func(error) string) []slog.Attr {
	attrs := make([]slog.Attr, 0, 6)
	attrs = append(attrs,
		slog.String("code", oneLine(string(e.Code()), maxCode)),
		slog.String("type", oneLine(string(e.Type()), maxCode)),
		slog.Int("status", e.Status()))
	if p := e.Param(); p != "" {
		attrs = append(attrs, slog.String("param", oneLine(p, maxParam)))
	}
	if id := e.RequestID(); id != "" {
		attrs = append(attrs, slog.String("request_id", oneLine(id, maxParam)))
	}
	if cause := e.Cause(); cause != nil {
		attrs = append(attrs, slog.String("cause", oneLine(redact(cause), maxMessage)))
	}
	return attrs
}

// WithMessage returns a copy with another public message.
func (e *Error) WithMessage(message string) *Error {
	c := e.copy()
	c.message = message
	return c
}

// WithParam returns a copy that names the parameter at fault, as the caller spells it:
// "items[1].price". A header is named as a header: "Idempotency-Key".
func (e *Error) WithParam(param string) *Error {
	c := e.copy()
	c.param = param
	return c
}

// WithCause returns a copy with a cause, for the log alone: its text never reaches the client.
func (e *Error) WithCause(cause error) *Error {
	c := e.copy()
	c.cause = cause
	return c
}

// WithRetryAfter returns a copy that asks the client to wait before it repeats the request. The
// header is in whole seconds, at least one, rounded up. Zero or less asks for nothing (but a 429
// and a 503 always carry the header). The header is not sent for an error that is not
// [Error.Retryable]: it would contradict X-Should-Retry: false.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := e.copy()
	c.retryAfter = max(d, 0)
	return c
}

// WithNotRetryable returns a copy that tells the client not to retry, whatever its status:
// X-Should-Retry: false is sent, and no Retry-After.
func (e *Error) WithNotRetryable() *Error {
	c := e.copy()
	c.notRetryable, c.retryAfter = true, 0
	return c
}

// WithMetadata returns a copy with one more entry of the "metadata" member. The client sees it.
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
// parameters are at fault. The first entry is mirrored at the top: an error without a param
// takes the field's param, and if its own code is built in, the field's code and message too.
// One that has a param, and no entries yet, is the first entry itself.
func (e *Error) WithField(f Field) *Error {
	c := e.copy()
	fields := c.details().fields
	switch {
	case len(fields) > 0:
	case c.param != "":
		fields = []Field{{c.code, c.param, c.message}}
	default:
		c.param = f.Param
		if c.status == 0 || builtin.find(c.code) != nil { // a code of the service's own stays, with its status and message
			if d := builtin.find(f.Code); d != nil {
				c.typ, c.status = d.Type, d.Status
			}
			c.code, c.message = cmp.Or(f.Code, c.code), cmp.Or(f.Message, c.message)
		}
	}
	c.ownDetails().fields = append(slices.Clip(fields), f)
	return c
}

// WithHeader returns a copy that sends one more response header, such as WWW-Authenticate or
// Location. Used again with the same key it adds a second value. The values replace those that
// the handler has set. The headers that every error carries, and those that describe the body,
// are not to be set this way: the renderer's values win.
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

// MarshalJSON returns the public part as an object, for answers that hold several: what is in
// the "error" member of a response. There is no request_id before the error was rendered.
func (e *Error) MarshalJSON() ([]byte, error) {
	c := *e.copy()
	defaults.fill(&c)
	return appendObject(nil, &c), nil
}

func (e *Error) copy() *Error {
	if e == nil {
		return CodeAPIError.new()
	}
	c := *e
	return &c
}

var _ interface {
	error
	slog.LogValuer
} = (*Error)(nil)
