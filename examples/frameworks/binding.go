package frameworks

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
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

// fieldName makes a validator call fields as clients do. It is for RegisterTagNameFunc.
func fieldName(field reflect.StructField) string {
	for _, tag := range []string{"json", "query", "form", "param", "uri", "header"} {
		if name, _, _ := strings.Cut(field.Tag.Get(tag), ","); name != "" && name != "-" {
			return name
		}
	}
	return ""
}

// statusError returns the error to send for an error of a framework that has a status. If err wraps
// an error that the Stack knows, such as an *apierror.Error or that of MaxBody, that error is sent.
func statusError(status int, err error) error {
	if apierror.From(err).Code() != apierror.CodeAPIError {
		return err
	}
	code := apierror.CodeAPIError
	switch status {
	case http.StatusUnauthorized:
		code = apierror.CodeAuthenticationFailed
	case http.StatusForbidden:
		code = apierror.CodePermissionDenied
	case http.StatusNotFound:
		code = apierror.CodeResourceMissing
	case http.StatusRequestEntityTooLarge:
		code = apierror.CodeRequestTooLarge
	case http.StatusUnsupportedMediaType:
		code = apierror.CodeUnsupportedMediaType
	case http.StatusTooManyRequests:
		code = apierror.CodeRateLimitExceeded
	case http.StatusServiceUnavailable:
		code = apierror.CodeServiceUnavailable
	case http.StatusGatewayTimeout:
		code = apierror.CodeTimeout
	default:
		if status >= 400 && status < 500 {
			code = apierror.CodeParameterInvalid
		}
	}
	return code.New().WithCause(err)
}
