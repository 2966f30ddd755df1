package apierror

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// From returns the error that Write would render for err with the default Renderer; nil for nil.
// In this order:
//
//   - the first *Error, [Code] or [Definition] in err's tree, as errors.As would find it,
//     through wrapping (%w) and errors.Join. When it is about a parameter and the tree holds
//     errors about other parameters, they are all named in Fields;
//   - *http.MaxBytesError is request_too_large, context.DeadlineExceeded and
//     os.ErrDeadlineExceeded are timeout, and what net/http says of a malformed form is what is
//     wrong with it;
//   - anything else is api_error, and so is an *Error that Parse made of another service's
//     response: its codes are that service's promises, not ours. To pass one on, make an error
//     of your own with it as cause.
//
// Write also knows the request: what reading its body has failed with, such as
// io.ErrUnexpectedEOF, is parameter_invalid there.
//
// The result is the *Error itself where err is one. Otherwise its cause is err: what wrapped the
// *Error is for the log.
func From(err error) *Error {
	e, _ := from(err)
	return e
}

// from is From. named tells that err's tree says what it is: it is not api_error for want of
// anything better.
func from(err error) (e *Error, named bool) {
	switch t := err.(type) { // what nothing wraps is as it is, as a rule, and its cause does not count
	case nil:
		return nil, false
	case *Error:
		if t != nil && !t.isZero() && !t.parsed() {
			return t, true
		}
	case Code:
		return cmp.Or(t, CodeAPIError).new(), true
	case Definition:
		return t.New(), true
	case *Definition:
		if t != nil {
			return t.New(), true
		}
	}
	var found, known *Error
	walk(err, false, func(node error) (more bool) {
		switch t := node.(type) {
		case *Error:
			found = t
			if t == nil || t.isZero() || t.parsed() {
				found = CodeAPIError.new()
			}
		case Code:
			found = cmp.Or(t, CodeAPIError).new()
		case Definition:
			found = t.New()
		case *Definition:
			if t != nil {
				found = t.New()
			}
		default:
			if found = as(node); found == nil && known == nil {
				known = mapped(node)
			}
		}
		return found == nil
	})
	switch {
	case found != nil && found.param != "":
		found = withFields(found, err)
	case found == nil && known != nil:
		found = known
	case found == nil:
		found = CodeAPIError.new()
		found.cause = err
		return found, false
	}
	return found.WithCause(err), true
}

// CodeOf returns the code of the outermost error in err's tree that has one, "" for none. It is
// what a switch wants:
//
//	switch apierror.CodeOf(err) {
//	case apierror.CodeParameterMissing:
func CodeOf(err error) (code Code) {
	walk(err, false, func(node error) (more bool) {
		switch t := node.(type) {
		case *Error:
			code = t.Code()
		case Code:
			code = t
		case Definition:
			code = t.Code
		case *Definition:
			if t != nil {
				code = t.Code
			}
		default:
			if e := as(node); e != nil {
				code = e.Code()
			}
		}
		return code == ""
	})
	return code
}

// as asks the As method of one node of a tree, as errors.As does, and returns nil if it has none
// or nothing to say.
func as(node error) *Error {
	a, ok := node.(interface{ As(target any) bool })
	if !ok {
		return nil
	}
	var (
		e    *Error
		code Code
		def  Definition
		ref  *Definition
	)
	switch {
	case a.As(&e) && e != nil:
		if e.isZero() || e.parsed() {
			return CodeAPIError.new()
		}
		return e
	case a.As(&code):
		return cmp.Or(code, CodeAPIError).new()
	case a.As(&def):
		return def.New()
	case a.As(&ref) && ref != nil:
		return ref.New()
	}
	return nil
}

// mapped is what the errors of the standard library mean that a handler meets and hands on.
func mapped(err error) *Error {
	if e, ok := err.(*http.MaxBytesError); ok && e != nil {
		return RequestTooLarge(e.Limit)
	}
	if e := badForm(err); e != nil {
		return e
	}
	if is(err, context.DeadlineExceeded) || is(err, os.ErrDeadlineExceeded) {
		return CodeTimeout.new()
	}
	return nil
}

// badForm is what reading a form fails with if the client is at fault: ParseForm,
// ParseMultipartForm and MultipartReader of net/http, and what is below them. Several have no
// type or value to be known by, only a text. An io.ErrUnexpectedEOF alone may be
// the client's or a dependency's, so it is not among them: Write finds out whose it is.
func badForm(err error) *Error {
	switch t := err.(type) {
	case url.EscapeError:
		return CodeParameterInvalid.Messagef("The form or query is malformed.")
	case *http.ProtocolError: //nolint:staticcheck // the type of ErrNotMultipart
		switch t {
		case http.ErrNotMultipart:
			return UnsupportedMediaType("multipart/form-data")
		case http.ErrMissingBoundary:
			return CodeParameterInvalid.Messagef("The Content-Type has no boundary.").WithParam("Content-Type")
		}
		return nil
	}
	switch err {
	case multipart.ErrMessageTooLarge: //nolint:errorlint // walk unwraps
		return RequestTooLarge(0)
	case http.ErrMissingFile:
		return CodeParameterMissing.Messagef("A required file is missing.")
	case mime.ErrInvalidMediaParameter:
		return badContentType()
	}
	text := plain.ErrorText(err)
	switch t := err.(type) {
	case interface{ Unwrap() []error }:
		return nil
	case interface{ Unwrap() error }: // says no more than what it wraps, but for the end of a form before its last part
		cause := t.Unwrap()
		ended := cause == io.EOF || cause == io.ErrUnexpectedEOF || cause == bufio.ErrBufferFull //nolint:errorlint // not deeper
		if ended && strings.HasPrefix(text, "multipart: NextPart: ") {
			return CodeParameterInvalid.Messagef("The multipart form is malformed.")
		}
		return nil
	case textproto.ProtocolError:
		if strings.HasPrefix(text, "malformed MIME header") {
			return CodeParameterInvalid.Messagef("The multipart form is malformed.")
		}
		return nil
	}
	switch text {
	case "invalid semicolon separator in query":
		return CodeParameterInvalid.Messagef("The form or query is malformed.")
	case "number of URL query parameters exceeded limit":
		return CodeParameterInvalid.Messagef("The form or query has too many parameters.")
	case "http: POST too large":
		return RequestTooLarge(10 << 20)
	case "missing form body":
		return CodeParameterMissing.Messagef("The request body is empty.")
	case "mime: no media type", "mime: expected slash after first token", "mime: expected token after slash",
		"mime: unexpected content after media subtype", "mime: duplicate parameter name":
		return badContentType()
	case "multipart: boundary is empty":
		return CodeParameterInvalid.Messagef("The Content-Type has no boundary.").WithParam("Content-Type")
	}
	for _, beginning := range [...]string{
		"multipart: expecting a new Part; got line ", "multipart: unexpected line in Next(): ", "quotedprintable: invalid ",
	} {
		if strings.HasPrefix(text, beginning) {
			return CodeParameterInvalid.Messagef("The multipart form is malformed.")
		}
	}
	return nil
}

func badContentType() *Error {
	return CodeParameterInvalid.Messagef("The Content-Type is malformed.").WithParam("Content-Type")
}

// is is errors.Is for one node of a tree.
func is(err, target error) bool {
	if err == target { //nolint:errorlint // walk unwraps
		return true
	}
	t, ok := err.(interface{ Is(error) bool })
	return ok && t.Is(target)
}

// withFields gives an error about a parameter the other parameters that err's tree complains of.
func withFields(first *Error, err error) *Error {
	if first.typ != TypeInvalidRequest || len(first.details().fields) > 0 {
		return first
	}
	var fields []Field
	walk(err, false, func(node error) bool {
		if e, ok := node.(*Error); ok && e != nil && e.param != "" && e.typ == TypeInvalidRequest && !e.parsed() {
			fields = append(fields, Field{Code: e.code, Param: e.param, Message: e.message})
		}
		return len(fields) < maxFields
	})
	if len(fields) < 2 {
		return first
	}
	c := first.copy()
	c.ownDetails().fields = fields
	return c
}

// canceled reports whether err is about the cancellation of ctx itself: the client has gone, or
// the server's base context ended.
func canceled(ctx context.Context, err error) (about bool) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	walk(err, true, func(node error) (more bool) {
		about = is(node, context.Canceled)
		return !about
	})
	return about
}

// holds reports whether target itself is in err's tree. It is never if it is nil.
func holds(err, target error) (held bool) {
	if target == nil {
		return false
	}
	walk(err, false, func(node error) (more bool) {
		held = node == target //nolint:errorlint // walk unwraps
		return !held
	})
	return held
}

// unreadBody is what goes out for err, which reading the request's body has failed with.
func unreadBody(err error) *Error {
	return CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
}

// clientGone is what goes out when the request's own context was canceled. Nobody may be there
// to read it; who is (the server's base context has ended) must not get an implied 200.
func clientGone(err error) *Error { return ServiceUnavailable(time.Second).WithCause(err) }

// maxNodes bounds walk, against trees that are deep, wide, or contain themselves.
const maxNodes = 256

// walk visits err and the errors that it wraps, in the order of errors.As, until visit returns
// false or maxNodes were seen. It goes into the cause of an *Error only if asked: that is for
// the log. Where an Unwrap or Is method panics, as that of a typed nil may, it ends.
func walk(err error, causes bool, visit func(error) (more bool)) {
	defer func() { _ = recover() }()
	w := walker{left: maxNodes, causes: causes, visit: visit}
	w.walk(err)
}

type walker struct {
	left   int
	causes bool
	visit  func(error) (more bool)
}

func (w *walker) walk(err error) (more bool) {
	for err != nil && w.left > 0 {
		w.left--
		if !w.visit(err) {
			return false
		}
		switch t := err.(type) {
		case *Error:
			if !w.causes {
				return true
			}
			err = t.Cause()
		case interface{ Unwrap() error }:
			err = t.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range t.Unwrap() {
				if !w.walk(e) {
					return false
				}
			}
			return true
		default:
			return true
		}
	}
	return true
}
