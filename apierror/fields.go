package apierror

import (
	"errors"
	"maps"
	"slices"
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
// without its first part, the Go type. It returns nil for no errors.
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
		if n, ok := any(f).(interface{ Namespace() string }); ok {
			if _, below, nested := strings.Cut(n.Namespace(), "."); nested {
				name = below
			}
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

// FromFieldMap is FromFields for validators that map names to errors, such as github.com/go-ozzo/ozzo-validation: all are
// parameter_invalid, in the order of their names. Nil errors are left out.
func FromFieldMap(errs map[string]error, problem func(name string, err error) string) error {
	var list []error
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		if errs[name] == nil {
			continue
		}
		text := ""
		if problem != nil {
			text = problem(name, errs[name])
		}
		list = append(list, ParameterInvalid(name, text).WithCause(errs[name]))
	}
	return fromList(list)
}

func fromList(list []error) error {
	if len(list) == 0 {
		return nil // not From's typed nil
	}
	return From(errors.Join(list...))
}
