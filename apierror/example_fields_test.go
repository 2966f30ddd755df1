package apierror_test

import (
	"fmt"

	"github.com/seawall-go/seawall/apierror"
)

// fieldViolation stands for a validator's error about one field, such as a validator.FieldError of
// github.com/go-playground/validator.
type fieldViolation struct{ field, rule string }

func (v fieldViolation) Field() string { return v.field }
func (v fieldViolation) Tag() string   { return v.rule }

// The names and the rules are the validator's, and the words are the service's.
func ExampleFromFields() {
	violations := []fieldViolation{{"name", "required"}, {"age", "gte"}}

	err := apierror.FromFields(violations, func(v fieldViolation) string {
		if v.Tag() == "gte" {
			return "must be at least 18"
		}
		return ""
	})

	for _, f := range apierror.From(err).Fields() {
		fmt.Println(f.Message)
	}
	// Output:
	// Missing required parameter: name.
	// Invalid parameter: age must be at least 18.
}
