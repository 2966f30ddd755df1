package apierror

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Error is the error of one failed request: on a server the error that is sent, in a client
// the error that was received. It never changes: the With methods return copies, so one
// Error may be a package variable that many goroutines use. Always use it as an *Error. A
// nil *Error behaves like a zero Error, which is sent as api_error.
//
// The client sees Message, Param, Fields and Metadata. Only the log sees Cause.
type Error struct {
	code         Code
	typ          Type // empty until a catalog fills it in, like status and message
	status       int
	message      string
	param        string
	requestID    string
	retryAfter   time.Duration
	notRetryable bool // even if clients retry its status
	cause        error
	more         *details // nil for none; copies share it, so it is never written to
}

// details holds the parts that few errors have. An Error without them is smaller, and each
// request that fails copies one.
type details struct {
	docURL   string
	fields   []Field
	metadata map[string]string
	header   http.Header
	problem  *problem
	origin   origin
}

var noDetails details

// details returns the error's details, which must not be written to.
func (e *Error) details() *details {
	if e == nil || e.more == nil {
		return &noDetails
	}
	return e.more
}

// ownDetails gives e, a copy that no one else has seen, its own details, and returns them.
func (e *Error) ownDetails() *details {
	d := *e.details()
	e.more = &d
	return &d
}

// Field is one of several parameters at fault: an entry of the error object's "errors" member.
type Field struct {
	Code    Code
	Param   string
	Message string
}

// Code returns the code. It is empty if a parsed response has none.
func (e *Error) Code() Code {
	if e == nil {
		return ""
	}
	return e.code
}

// Type returns the type. It is api_error if neither the error nor the built-in catalog has one.
func (e *Error) Type() Type {
	if e == nil || e.typ == "" {
		return TypeAPI
	}
	return e.typ
}

// Status returns the HTTP status that the error is sent with, or was received with. Before
// the error is sent, it is 500 if only the catalog of the [Renderer] has the code.
func (e *Error) Status() int {
	if e == nil || e.status == 0 {
		return e.Type().status()
	}
	return e.status
}

// Message returns the text for the client's developer.
func (e *Error) Message() string {
	if e == nil {
		return ""
	}
	return e.message
}

// Param returns the parameter at fault, as the client spells it. It is empty if no single
// parameter is.
func (e *Error) Param() string {
	if e == nil {
		return ""
	}
	return e.param
}

// RequestID returns the id of the request that failed. A server's error has it once it is sent.
func (e *Error) RequestID() string {
	if e == nil {
		return ""
	}
	return e.requestID
}

// DocURL returns the link to the code's documentation. It is empty if there is none. A
// server's error has it once it is sent.
func (e *Error) DocURL() string { return e.details().docURL }

// Fields returns a copy of the parameters at fault if there are several. The error's own Param is
// the first.
func (e *Error) Fields() []Field { return slices.Clone(e.details().fields) }

// Metadata returns a copy of the "metadata" member. It is nil if there is none.
func (e *Error) Metadata() map[string]string { return maps.Clone(e.details().metadata) }

// RetryAfter returns how long the server asks to wait before a retry. It is zero if the
// server does not ask.
func (e *Error) RetryAfter() time.Duration {
	if e == nil {
		return 0
	}
	return e.retryAfter
}

// Retryable reports whether a retry of the same request may have another result: the status is
// 429 or a 5xx other than 501, and neither [Error.WithNotRetryable] nor the [Definition] nor the
// parsed response says otherwise.
func (e *Error) Retryable() bool {
	status := e.Status()
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError // which is sent instead
	}
	return retryhint.Retryable(status) && (e == nil || !e.notRetryable)
}

// FromServer reports whether [Parse] found an error object or problem details in a
// response. If so, the error is another service's. It is false for an error that was made
// here, and for a response that a proxy wrote.
func (e *Error) FromServer() bool { return e.details().origin.object }

// Cause returns the error that WithCause was given. It is only for the log.
func (e *Error) Cause() error {
	if e == nil {
		return nil
	}
	return e.cause
}

// Unwrap returns the cause, so errors.Is and errors.As find the errors in it.
func (e *Error) Unwrap() error { return e.Cause() }

// Is reports whether target is the error's [Code], its [Type] or a [Definition] of its code, for
// errors.Is.
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

// isZero reports whether the error has no code, type or status. Such an error is sent as
// api_error, like a nil one.
func (e *Error) isZero() bool { return e.code == "" && e.typ == "" && e.status == 0 }

// parsed reports whether Parse made the error.
func (e *Error) parsed() bool { return e.details().origin.parsed }

// Error returns one line for a log: code, message, parameter, request id, and the cause without
// the userinfo, query and fragment of its URLs. Clients must not see it; they get Message.
func (e *Error) Error() string {
	if e == nil {
		return "apierror: nil *Error"
	}
	var b strings.Builder
	if e.parsed() && e.status != 0 {
		b.WriteString(e.more.origin.line() + strconv.Itoa(e.status) + " ")
	}
	b.WriteString(oneLine(cmp.Or(string(e.code), string(e.Type())), maxCode))
	if e.message != "" {
		b.WriteString(": " + oneLine(e.message, maxMessage))
	}
	var about []string
	if e.param != "" {
		about = append(about, "param "+oneLine(e.param, maxParam))
	}
	if e.requestID != "" {
		about = append(about, "request "+oneLine(e.requestID, maxParam))
	}
	if len(about) > 0 {
		b.WriteString(" (" + strings.Join(about, ", ") + ")")
	}
	if e.cause != nil {
		b.WriteString(": " + oneLine(plain.ErrorText(e.cause), maxMessage))
	}
	return b.String()
}
