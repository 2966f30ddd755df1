package apierror

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/internal/track"
)

// DecodeOptions are the options of [DecodeJSON].
type DecodeOptions struct {
	// MaxBytes bounds the body; exactly that many are accepted. 0 is 1 MiB, negative is no bound of its own.
	MaxBytes int64

	// AllowUnknown ignores members that the target has no field for, instead of refusing them.
	AllowUnknown bool

	// AnyMediaType reads the body whatever its Content-Type says. Requiring JSON has a use beyond tidiness: a web page of
	// another origin cannot send it without a CORS preflight.
	AnyMediaType bool
}

// DecodeJSON reads the request's body, one JSON value, into v, a non-nil pointer. Nil options are the defaults. What the client
// got wrong is an *Error that names the parameter in the client's spelling ("items[1].price"), never a Go type:
//
//	no body                            parameter_missing
//	a member of the wrong type         parameter_invalid with param
//	an unknown member                  parameter_invalid with param
//	no JSON, or something after it     parameter_invalid, naming the byte
//	another media type than JSON       unsupported_media_type
//	too many bytes                     request_too_large, and the connection is closed
//
// What a type's own UnmarshalJSON or UnmarshalText refuses is parameter_invalid, or the *Error that it returned.
func DecodeJSON(w http.ResponseWriter, r *http.Request, v any, o *DecodeOptions) error {
	var opt DecodeOptions
	if o != nil {
		opt = *o
	}
	if !opt.AnyMediaType && !isJSON(r.Header) && r.ContentLength != 0 {
		return UnsupportedMediaType("application/json")
	}
	body, err := readRequest(w, r, opt.MaxBytes)
	if err != nil {
		return err
	}
	text := bytes.TrimSpace(body)
	if len(text) == 0 {
		return CodeParameterMissing.Messagef("The request body is empty.")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if !opt.AllowUnknown {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(v); err != nil {
		return decodeError(err, body, v)
	}
	end := int(decoder.InputOffset())
	if rest := bytes.TrimLeft(body[end:], " \t\r\n"); len(rest) > 0 {
		return CodeParameterInvalid.Messagef("The request body has something after its JSON value, at byte %d.", len(body)-len(rest)+1)
	}
	if string(text) == "null" {
		if problem := expected(reflect.TypeOf(v), ""); problem != "" {
			return CodeParameterInvalid.Messagef("The request body %s.", problem)
		}
	}
	return nil
}

// isJSON tells whether the one Content-Type is application/json or one of its relatives (+json), in UTF-8.
func isJSON(h http.Header) bool {
	values := h["Content-Type"]
	if len(values) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" && !strings.HasSuffix(mediaType, "+json") {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

func readRequest(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if limit == 0 {
		limit = 1 << 20
	}
	from := io.Reader(r.Body)
	if limit > 0 {
		if r.ContentLength > limit {
			return nil, RequestTooLarge(limit)
		}
		from = http.MaxBytesReader(track.Innermost(w), r.Body, limit)
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength, 1<<16)) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(from); err != nil {
		if e := mapped(err); e != nil {
			return nil, e.WithCause(err)
		}
		return nil, CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
	}
	return b.Bytes(), nil
}

// decodeError says in the client's words what encoding/json found.
func decodeError(err error, body []byte, v any) error {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	var programmer *json.InvalidUnmarshalError
	switch {
	case errors.As(err, &programmer):
		return err
	case errors.As(err, &syntax):
		return CodeParameterInvalid.Messagef("The request body is not valid JSON, at byte %d.", syntax.Offset).WithCause(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return CodeParameterInvalid.Messagef("The request body is not valid JSON: it ends at byte %d, in the middle.", len(body)).WithCause(err)
	case errors.As(err, &wrongType):
		return wrongTypeError(wrongType, body)
	}
	if name, ok := unknownField(err); ok {
		return ParameterInvalid(pathOfUnknown(body, name, reflect.TypeOf(v)), "is not known").WithCause(err)
	}
	return refusedError(err, pathOfInvalid(body, reflect.TypeOf(v)).String())
}

// refusedError is about a value that its type's own UnmarshalJSON or UnmarshalText refused, at a path where it was found.
func refusedError(err error, param string) error {
	var own *Error
	switch {
	case errors.As(err, &own) && own != nil && own.param == "" && param != "":
		return own.WithParam(param)
	case own != nil:
		return err
	case param != "":
		return ParameterInvalid(param, "").WithCause(err)
	default:
		return CodeParameterInvalid.Messagef("A parameter in the request body has an invalid value.").WithCause(err)
	}
}

func wrongTypeError(err *json.UnmarshalTypeError, body []byte) error {
	at, exact := pathAt(body, int(err.Offset))
	problem := expected(err.Type, err.Value)
	switch {
	case !at.follows(err.Field): // a type's own UnmarshalJSON counted the bytes of its own part
		at = nil
	case !exact: // the key of a map
		problem = "has an invalid key"
	}
	param := at.String()
	if at == nil {
		param = err.Field
	}
	if param == "" {
		return CodeParameterInvalid.Messagef("The request body %s.", problem).WithCause(err)
	}
	return ParameterInvalid(param, problem).WithCause(err)
}

// unknownField reads the one text of encoding/json that has no type of its own.
func unknownField(err error) (name string, ok bool) {
	quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return "", false
	}
	name, unquoteErr := strconv.Unquote(quoted)
	return name, unquoteErr == nil
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// expected completes "the parameter …": what JSON a Go type is read from. got is encoding/json's word for what came.
func expected(t reflect.Type, got string) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "has the wrong type"
	}
	digits, number := strings.CutPrefix(got, "number ") // one that the type cannot hold
	switch t.Kind() {
	case reflect.Bool:
		return "must be true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if number && !strings.ContainsAny(digits, ".eE") {
			return "is out of range"
		}
		return "must be a whole number"
	case reflect.Float32, reflect.Float64:
		if number {
			return "is out of range"
		}
		return "must be a number"
	case reflect.String:
		return "must be a string"
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return "must be a string"
	}
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "must be a string in base64"
		}
		return "must be an array"
	case reflect.Array:
		return "must be an array"
	case reflect.Struct, reflect.Map:
		return "must be an object"
	case reflect.Interface:
		return ""
	default:
		return "has the wrong type"
	}
}
