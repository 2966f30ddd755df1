package apierror

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"
)

// From returns the error that Write would render for err with the default Renderer; nil for nil. In this order:
//
//   - the first *Error or [Code] in err's tree, as errors.As would find it, through wrapping (%w) and errors.Join. When it is
//     about a parameter and the tree holds errors about other parameters, they are all named in Fields;
//   - *http.MaxBytesError is request_too_large, context.DeadlineExceeded and os.ErrDeadlineExceeded are timeout;
//   - anything else is api_error with err as its cause, and so is an *Error that Parse made of another service's response: its
//     codes are that service's promises, not ours. To pass one on, make an error of your own with it as cause.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var found *Error
	var known *Error
	walk(err, func(node error) bool {
		switch t := node.(type) {
		case *Error:
			found = t
			if t == nil || t.isZero() || t.origin != nil {
				found = Internal(err)
			}
		case Code:
			found = t.new()
		default:
			if known == nil {
				known = mapped(node)
			}
		}
		return found == nil
	})
	switch {
	case found != nil:
		return withFields(found, err)
	case known != nil:
		return known.WithCause(err)
	default:
		return Internal(err)
	}
}

// mapped is what the errors of the standard library mean that a handler meets and hands on.
func mapped(err error) *Error {
	if e, ok := err.(*http.MaxBytesError); ok && e != nil {
		return RequestTooLarge(e.Limit)
	}
	if is(err, context.DeadlineExceeded) || is(err, os.ErrDeadlineExceeded) {
		return Timeout()
	}
	return nil
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
	if first.param == "" || first.typ != TypeInvalidRequest || len(first.fields) > 0 {
		return first
	}
	var fields []Field
	walk(err, func(node error) bool {
		if e, ok := node.(*Error); ok && e != nil && e.param != "" && e.typ == TypeInvalidRequest && e.origin == nil {
			fields = append(fields, Field{Code: e.code, Param: e.param, Message: e.message})
		}
		return len(fields) < maxFields
	})
	if len(fields) < 2 {
		return first
	}
	c := first.copy()
	c.fields = fields
	return c
}

// canceled tells whether err is about the cancellation of ctx itself: the client has gone, or the server's base context ended.
func canceled(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.Canceled) && holdsCanceled(err)
}

func holdsCanceled(err error) (found bool) {
	walk(err, func(node error) bool {
		found = is(node, context.Canceled)
		if e, ok := node.(*Error); ok {
			found = holdsCanceled(e.Cause())
		}
		return !found
	})
	return found
}

// clientGone is what goes out when the request's own context was cancelled. Nobody may be there to read it; who is (the
// server's base context has ended) must not get an implied 200.
func clientGone(err error) *Error { return ServiceUnavailable(time.Second).WithCause(err) }

// maxNodes bounds walk, against trees that are deep, wide, or contain themselves.
const maxNodes = 256

// walk visits err and the errors that it wraps, in the order of errors.As, until visit returns false or maxNodes were seen.
// It does not go into the cause of an *Error: that is for the log.
func walk(err error, visit func(error) bool) {
	left := maxNodes
	var node func(error) bool
	node = func(err error) bool {
		for err != nil && left > 0 {
			left--
			if !visit(err) {
				return false
			}
			switch t := err.(type) { //nolint:errorlint // this is the walk
			case *Error:
				return true
			case interface{ Unwrap() error }:
				err = t.Unwrap()
			case interface{ Unwrap() []error }:
				for _, e := range t.Unwrap() {
					if !node(e) {
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
	node(err)
}
