package apierror

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
)

// refusal describes what is wrong with a value in a request's body.
type refusal struct {
	at      path
	problem string // completes "the parameter …"; may be empty
	err     error  // from the type's own method, or else from encoding/json
	mistake error  // a mistake of the program: nothing can be read into the type
}

// answer returns the error in terms that the client knows. If the type's own method has
// returned an error of this package, that error is sent.
func (r *refusal) answer() error {
	switch param := r.at.String(); {
	case r.mistake != nil:
		return r.mistake
	case CodeOf(r.err) != "":
		e := From(r.err)
		if e.param == "" && param != "" {
			e = e.WithParam(param)
		}
		return e
	case param != "":
		return ParameterInvalid(param, r.problem).WithCause(r.err)
	case r.problem != "":
		return CodeParameterInvalid.Messagef("The request body %s.", r.problem).WithCause(r.err)
	default:
		return CodeParameterInvalid.Messagef("The request body has a parameter of the wrong type or value.").WithCause(r.err)
	}
}

// malformed returns the error for a body that is not JSON.
func malformed(err error, length int) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return CodeParameterInvalid.Messagef("The request body is not valid JSON, at byte %d.", syntax.Offset).WithCause(err)
	}
	return CodeParameterInvalid.Messagef("The request body is not valid JSON: it ends too early, at byte %d.", length).WithCause(err)
}

// expected returns what JSON a Go type is read from: it completes "the parameter …". It is
// empty if nothing is known of the type. got is the value in the body, if it is a number.
func expected(t reflect.Type, got []byte) string {
	for t != nil && t.Kind() == reflect.Pointer && !t.Implements(textUnmarshaler) {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	number := isNumber(got)
	if t.Implements(textUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
		return "must be a string"
	}
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return "must be true or false"
	case isInteger(k):
		if number && !bytes.ContainsAny(got, ".eE") {
			return "is out of range"
		}
		return "must be a whole number"
	case k == reflect.Float32 || k == reflect.Float64 || k == reflect.Interface && number:
		if number {
			return "is out of range"
		}
		return "must be a number"
	case t == jsonNumber:
		return "must be a number"
	case k == reflect.String:
		return "must be a string"
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "must be a string in base64"
	case k == reflect.Slice || k == reflect.Array:
		return "must be an array"
	case k == reflect.Struct || k == reflect.Map:
		return "must be an object"
	default:
		return ""
	}
}
