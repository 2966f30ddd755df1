package apierror

import (
	"context"
	"net/http"
	"os"
)

// From is for services: clients find the *Error of [Parse] with [errors.AsType]. From returns
// the error that [Write] sends for err if the [Renderer] has no Map. If err is
// nil, it returns nil. Otherwise it returns, in this order:
//
//   - the first *Error, [Code] or [Definition] in err's tree, as [errors.As] finds it. If
//     it is about a parameter, and other errors in the tree are about other parameters,
//     Fields lists all of them;
//   - request_too_large for an *http.MaxBytesError, timeout for context.DeadlineExceeded
//     and os.ErrDeadlineExceeded, and a 4xx error for the errors of net/http's form
//     parsing;
//   - api_error for anything else.
//
// An *Error that [Parse] made becomes api_error too, because its code belongs to another
// service's API. To pass it on, make your own error with it as the cause.
//
// Write also knows the request. If reading the body failed with the error, such as
// io.ErrUnexpectedEOF, Write sends parameter_invalid instead of api_error.
//
// If err itself is an *Error that can be sent, it is the result. Otherwise err is the cause
// of the result, so that the log shows everything that wraps the *Error.
func From(err error) *Error {
	e, _ := from(err)
	return e
}

// from does what [From] does. named reports whether err's tree says which error it is. If
// not, the result is api_error by default.
func from(err error) (e *Error, named bool) {
	if err == nil {
		return nil, false
	}
	if e, ok := self(err); ok && e.sendable() { // nothing wraps it, and its cause does not count
		return e, true
	}
	var found, known *Error
	walk(err, false, func(node error) (more bool) {
		if e, ok := inside(node); ok {
			if found = e; !e.sendable() {
				found = CodeAPIError.New()
			}
			return false
		}
		if known == nil {
			known = standard(node)
		}
		return true
	})
	switch {
	case found != nil:
		return withFields(found, err).WithCause(err), true
	case known != nil:
		return known.WithCause(err), true
	default:
		e = CodeAPIError.New()
		e.cause = err
		return e, false
	}
}

// sendable reports whether the error can be sent as it is: it is not empty, and it was not
// parsed from another service's response.
func (e *Error) sendable() bool { return e != nil && !e.isZero() && !e.parsed() }

// CodeOf returns the code of the outermost error in err's tree that has one, for a switch. It is
// empty if there is none.
//
//	switch apierror.CodeOf(err) {
//	case apierror.CodeParameterMissing:
func CodeOf(err error) (code Code) {
	walk(err, false, func(node error) (more bool) {
		if e, ok := inside(node); ok {
			code = e.Code()
		}
		return code == ""
	})
	return code
}

// self returns the error that a value of this package's types stands for. It may be nil.
func self(node error) (e *Error, ok bool) {
	switch t := node.(type) {
	case *Error:
		return t, true
	case Code:
		return t.New(), true
	case Definition:
		return t.New(), true
	case *Definition:
		if t != nil {
			return t.New(), true
		}
	}
	return nil, false
}

// inside returns what errors.As finds in one node of a tree, without what the node wraps.
func inside(node error) (e *Error, ok bool) {
	if e, ok := self(node); ok {
		return e, true
	}
	if a, ok := node.(interface{ As(target any) bool }); ok {
		return as(a.As)
	}
	return nil, false
}

// as returns the error that an As method finds.
func as(find func(target any) bool) (*Error, bool) {
	var (
		e    *Error
		code Code
		def  Definition
		ref  *Definition
	)
	switch {
	case find(&e) && e != nil:
		return e, true
	case find(&code):
		return code.New(), true
	case find(&def):
		return def.New(), true
	case find(&ref) && ref != nil:
		return ref.New(), true
	default:
		return nil, false
	}
}

// standard returns the error to send for those errors of the standard library that handlers
// pass on. It is nil for any other error.
func standard(err error) *Error {
	switch t := err.(type) {
	case *http.MaxBytesError:
		if t != nil {
			return RequestTooLarge(t.Limit)
		}
	case *Definition: // a nil one, whose methods panic
		return nil
	}
	if e := badForm(err); e != nil {
		return e
	}
	if is(err, context.DeadlineExceeded) || is(err, os.ErrDeadlineExceeded) {
		return CodeTimeout.New()
	}
	return nil
}

// withFields returns first, an error about a parameter, with all parameters that errors in
// err's tree are about, if there are several. It returns any other error as it is.
func withFields(first *Error, err error) *Error {
	if first.param == "" || first.typ != TypeInvalidRequest || len(first.details().fields) > 0 {
		return first
	}
	var fields []Field
	walk(err, false, func(node error) (more bool) {
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
