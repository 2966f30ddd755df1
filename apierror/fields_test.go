package apierror_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// These look like the types of github.com/go-playground/validator/v10: a slice of an interface with
// more methods than FromFields needs.
type (
	validationErrors []fieldError
	fieldError       interface {
		Tag() string
		ActualTag() string
		Namespace() string
		StructNamespace() string
		Field() string
		Value() any
		Param() string
		Error() string
	}
	violation struct{ namespace, field, tag, param string }
)

func (v violation) Tag() string { return v.tag }

func (v violation) ActualTag() string { return v.tag }

func (v violation) Namespace() string { return v.namespace }

// StructNamespace returns the path in Go names, which begin in upper case here.
func (v violation) StructNamespace() string {
	if strings.HasPrefix(v.namespace, "Pa") { // a generic type, as it is
		return v.namespace
	}
	parts := strings.Split(v.namespace, ".")
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, ".")
}

func (v violation) Field() string { return v.field }

func (v violation) Value() any { return "secret-4711" }

func (v violation) Param() string { return v.param }

func (v violation) Error() string { return "Key: 'T.X' Error:Field validation for 'X' failed" }

func (validationErrors) Error() string { return "secret-4711" }

// plain implements only FieldError.
type plain struct{ field, tag string }

func (p plain) Field() string { return p.field }

func (p plain) Tag() string { return p.tag }

func TestFromFieldsNamesAllParametersAtFault(t *testing.T) {
	t.Parallel()
	invalid := validationErrors{
		violation{"Order.items[0].name", "name", "required", ""},
		violation{"Order.items[1].price", "price", "gte", "10"},
		violation{"city", "city", "required_with", "zip"},
	}
	err := apierror.FromFields(invalid, func(f fieldError) string {
		if f.Tag() == "gte" {
			return "must be at least " + f.Param()
		}
		return ""
	})

	e := asError(t, err)
	equal(t, "code", e.Code(), apierror.CodeParameterMissing)
	equal(t, "param", e.Param(), "items[0].name")
	equal(t, "fields", fmt.Sprint(e.Fields()), "[{parameter_missing items[0].name Missing required parameter: items[0].name.} "+
		"{parameter_invalid items[1].price Invalid parameter: items[1].price must be at least 10.} "+
		"{parameter_missing city Missing required parameter: city.}]")

	one := asError(t, apierror.FromFields([]plain{{"age", "max"}}, nil))
	equal(t, "one", fmt.Sprint(one.Message(), len(one.Fields())), "Invalid parameter: age.0")
	if err := apierror.FromFields(validationErrors{}, nil); err != nil {
		t.Errorf("none: %v", err)
	}
}

func TestFromFieldsKeepsTheWholePathOfAParameter(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{
		"to.zip":                               "to.zip", // an anonymous struct
		"Order.to.zip":                         "to.zip",
		"Page[example.com/shop.Address].limit": "limit", // a generic type
		"Pair[a.A,b.List[c.C]].x[1].y":         "x[1].y",
		"items[0].name":                        "items[0].name",
	} {
		e := asError(t, apierror.FromFields(validationErrors{violation{namespace, "zip", "max", ""}}, nil))
		equal(t, namespace, e.Param(), want)
	}
}

func TestFromFieldsKeepsPathsThatAreOnlyAnIndex(t *testing.T) {
	t.Parallel()
	e := asError(t, apierror.FromFields([]violation{{namespace: "items[0]", field: "[0]", tag: "max"}}, nil))
	equal(t, "param", e.Param(), "items[0]")
}

// namedField is a FieldError with a Namespace and without a StructNamespace method.
type namedField struct{ field, namespace string }

func (f namedField) Field() string { return f.field }

func (namedField) Tag() string { return "required" }

func (f namedField) Namespace() string { return f.namespace }

func TestFromFieldsWorksWithoutStructNamespace(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"User.name": "name", "User": "User", "Page[a.B].name": "name"} {
		err := apierror.FromFields([]namedField{{"f", namespace}}, nil)
		equal(t, namespace, asError(t, err).Param(), want)
	}
}
