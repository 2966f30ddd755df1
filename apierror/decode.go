package apierror

import (
	"bytes"
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
//	too many bytes                     request_too_large, and the connection is closed if much is left to read
//
// What a type's own UnmarshalJSON or UnmarshalText refuses is parameter_invalid, or the *Error or [Code] that it returned. It may be
// called a second time, with nothing but the value that it refused, to find out where that is. What reading the body
// fails with goes by [From]. A v that is no non-nil pointer is the program's mistake, handed back as *json.InvalidUnmarshalError.
// After an error v may be filled in part.
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
		return decodeError(err, body, reflect.TypeOf(v))
	}
	end := int(decoder.InputOffset())
	if rest := bytes.TrimLeft(body[end:], " \t\r\n"); len(rest) > 0 {
		return CodeParameterInvalid.Messagef("The request body has something after its JSON value, at byte %d.", len(body)-len(rest)+1)
	}
	if t := reflect.TypeOf(v).Elem(); string(text) == "null" && t.Kind() != reflect.Pointer && !unmarshalsItself(t) {
		if problem := expected(t, ""); problem != "" {
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
		if e := From(err); e.code != CodeAPIError || CodeOf(err) != "" {
			return nil, e
		}
		return nil, CodeParameterInvalid.Messagef("The request body could not be read to its end.").WithCause(err)
	}
	return b.Bytes(), nil
}

// decodeError says in the client's words what encoding/json found.
func decodeError(err error, body []byte, t reflect.Type) error {
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return err
	}
	// An UnmarshalJSON may return a syntax error too, of its own part. So ask whether the body has one.
	var value json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&value); err != nil {
		return malformed(err, len(body))
	}
	if name, ok := unknownField(err); ok {
		if at := findUnknown(body, name, t); at != nil {
			return ParameterInvalid(at.String(), "is not known").WithCause(err)
		}
	}
	wrongType, _ := errors.AsType[*json.UnmarshalTypeError](err)
	found, _ := findRefusal(wrongType, body, t)
	return refused(err, found.at, found.problem())
}

// refused says what is wrong with the value at a path. What the type's own UnmarshalJSON says of it goes out, if it is meant to.
func refused(err error, at path, problem string) error {
	switch param := at.String(); {
	case CodeOf(err) != "":
		e := From(err)
		if e.param == "" && param != "" {
			e = e.WithParam(param)
		}
		return e
	case param != "":
		return ParameterInvalid(param, problem).WithCause(err)
	case problem != "":
		return CodeParameterInvalid.Messagef("The request body %s.", problem).WithCause(err)
	default:
		return CodeParameterInvalid.Messagef("The request body has a parameter of the wrong type or value.").WithCause(err)
	}
}

func malformed(err error, length int) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return CodeParameterInvalid.Messagef("The request body is not valid JSON, at byte %d.", syntax.Offset).WithCause(err)
	}
	return CodeParameterInvalid.Messagef("The request body is not valid JSON: it ends at byte %d, in the middle.", length).WithCause(err)
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

// expected completes "the parameter …": what JSON a Go type is read from, "" where that cannot be said. got is encoding/json's
// word for what came.
func expected(t reflect.Type, got string) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
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
	default:
		return ""
	}
}
