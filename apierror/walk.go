package apierror

import (
	"context"
	"errors"
)

// maxNodes is the largest number of errors that walk visits: a tree may be deep or wide, or
// contain itself.
const maxNodes = 256

// walk visits err and the errors that it wraps, in the order of errors.As, until visit returns
// false or maxNodes were visited. The cause of an *Error is for the log: walk visits it only if
// causes is set. If an Unwrap or Is method panics, as that of a typed nil may, walk ends.
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

// is does what [errors.Is] does, for one node of a tree.
func is(node, target error) bool {
	if node == target { //nolint:errorlint // walk unwraps
		return true
	}
	t, ok := node.(interface{ Is(error) bool })
	return ok && t.Is(target)
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

// holds reports whether target itself is in err's tree. It is false if target is nil.
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
