package apierror

import (
	"errors"
	"strings"
)

// FieldError is a validator's error about one field. The field errors of
// github.com/go-playground/validator implement it.
type FieldError interface {
	Field() string // the field's name
	Tag() string   // the rule that it breaks, such as "required"
}

// FromFields returns one error that names all parameters that a validator found at fault.
// If errs is empty, it returns nil. The code is parameter_missing for the rule "required"
// and its variants, such as required_if, and otherwise parameter_invalid. The result of
// problem completes a sentence that begins with the parameter's name, and the client reads
// it. If problem is nil or returns "", the message says only that the parameter is invalid.
//
//	var invalid validator.ValidationErrors
//	if errors.As(err, &invalid) {
//		return apierror.FromFields(invalid, nil)
//	}
//
// If a field error has a Namespace method, the parameter is the path that it returns,
// without the name of the Go type at its beginning. The names are the validator's: make it
// use the json tags (RegisterTagNameFunc).
func FromFields[E FieldError](errs []E, problem func(E) string) error {
	list := make([]error, 0, len(errs))
	for _, f := range errs {
		name := f.Field()
		if n, ok := any(f).(namespacer); ok {
			name = parameter(n)
		}
		text := ""
		if problem != nil {
			text = problem(f)
		}
		if strings.HasPrefix(f.Tag(), "required") {
			list = append(list, ParameterMissing(name))
		} else {
			list = append(list, ParameterInvalid(name, text))
		}
	}
	if len(list) == 0 {
		return nil // not a nil *Error
	}
	return From(errors.Join(list...))
}

// namespacer is a FieldError that knows the path of its field. With
// github.com/go-playground/validator the path begins with the name of the validated type, unless
// that is an anonymous struct.
type namespacer interface {
	FieldError
	Namespace() string
}

// parameter returns the path of a field without the Go type that it may begin with.
func parameter(f namespacer) string {
	path := f.Namespace()
	if path == f.Field() { // Validate.Var, or a field of an anonymous struct
		return path
	}
	// Type arguments may hold dots and brackets: Page[example.com/shop.Address].limit.
	end, depth := 0, 0
	for end < len(path) && (depth > 0 || path[end] != '.') {
		switch path[end] {
		case '[':
			depth++
		case ']':
			depth--
		}
		end++
	}
	first, rest := path[:end], strings.TrimPrefix(path[end:], ".")
	if rest == "" {
		return path
	}
	// The name of a type is the same in Namespace and StructNamespace. The name of a field,
	// which begins the path in an anonymous struct, usually differs.
	if s, ok := f.(interface{ StructNamespace() string }); ok && !strings.HasPrefix(s.StructNamespace(), first+".") {
		return path
	}
	return rest
}
