package apierror

import (
	"errors"
	"strings"
)

// FieldError is what validators report of a field. The errors of github.com/go-playground/validator are such, and so are those
// of whatever else names the field and the rule.
type FieldError interface {
	Field() string
	Tag() string
}

// FromFields turns a validator's errors into one error that names all parameters at fault: parameter_missing where the rule is
// "required", else parameter_invalid. problem completes a sentence that begins with the parameter's name, for the client to
// read; nil, or an empty result, says only that the parameter is invalid. A path comes from an optional Namespace method,
// without the name of the Go type that it begins with (an anonymous struct has none). It returns nil for no errors.
//
//	var invalid validator.ValidationErrors
//	if errors.As(err, &invalid) {
//		return apierror.FromFields(invalid, nil)
//	}
//
// The names are those that the validator uses: let it use the json tags (RegisterTagNameFunc).
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
	return fromList(list)
}

// namespacer is what github.com/go-playground/validator reports beyond a FieldError: the path of a field, by the names that
// clients use. It begins with the name of the validated type, unless that is an anonymous struct.
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
	// The type's arguments may hold dots and brackets: Page[example.com/shop.Address].limit.
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
	// The name of a type is the same in both paths. A field that begins the path of an anonymous struct is not, as a rule.
	if s, ok := f.(interface{ StructNamespace() string }); ok && !strings.HasPrefix(s.StructNamespace(), first+".") {
		return path
	}
	return rest
}

func fromList(list []error) error {
	if len(list) == 0 {
		return nil // not From's typed nil
	}
	return From(errors.Join(list...))
}
