package frameworks

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/seawall-go/seawall/apierror"
)

// bindingError returns the error to send for an error of a framework that decodes JSON with
// encoding/json and validates with go-playground/validator, as gin and echo do. It returns any
// other error as it is. apierror.DecodeJSON names more parameters, such as "items[1].price".
func bindingError(err error) error {
	if invalid, ok := errors.AsType[validator.ValidationErrors](err); ok {
		return apierror.FromFields(invalid, nil)
	}
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if mistyped.Field == "" {
			return apierror.CodeParameterInvalid.Messagef("The request body has the wrong type.").WithCause(err)
		}
		return apierror.ParameterInvalid(mistyped.Field, "has the wrong type").WithCause(err)
	}
	_, malformed := errors.AsType[*json.SyntaxError](err)
	switch {
	case malformed || errors.Is(err, io.ErrUnexpectedEOF):
		return apierror.CodeParameterInvalid.Messagef("The request body is not valid JSON.").WithCause(err)
	case errors.Is(err, io.EOF):
		return apierror.CodeParameterMissing.Messagef("The request body is empty.").WithCause(err)
	default:
		return err
	}
}

// jsonName makes a validator call fields as clients do. It is for RegisterTagNameFunc.
func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}
