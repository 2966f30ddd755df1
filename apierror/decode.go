package apierror

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/seawall-go/seawall/internal/mediatype"
	"github.com/seawall-go/seawall/internal/track"
)

// DecodeOptions are the options of [DecodeJSON].
type DecodeOptions struct {
	// MaxBody bounds the body; exactly that many are accepted. 0 is 1 MiB, negative is no bound
	// here.
	MaxBody int64

	// AllowUnknown ignores members that the target has no field for, instead of refusing them.
	AllowUnknown bool

	// AnyMediaType reads the body whatever its Content-Type says. Requiring JSON has a use
	// beyond tidiness: a web page of another origin cannot send it without a CORS preflight.
	AnyMediaType bool
}

// DecodeJSON reads the request's body, one JSON value, into v, a non-nil pointer. Nil options
// are the defaults. What the client got wrong is an *Error that names the parameter in the
// client's spelling ("items[1].price"), never a Go type:
//
//	no body                            parameter_missing
//	a member of the wrong type         parameter_invalid with param
//	an unknown member                  parameter_invalid with param
//	a member that is given twice       parameter_invalid with param; names are compared as encoding/json compares them
//	no JSON, or something after it     parameter_invalid, naming the byte
//	another media type than JSON       unsupported_media_type
//	too many bytes                     request_too_large, and the connection is closed if much is left to read
//
// A body of null is parameter_invalid too, unless *v is a pointer, an interface, or of a type
// with its own UnmarshalJSON. Of several mistakes the first in the body is named. What a type's
// own UnmarshalJSON or UnmarshalText refuses is parameter_invalid, or the *Error or [Code] that
// it returned. After a failure such a method may be called a second time, with a new value and
// the same text, to find out which value it refused. What reading the body fails with goes by
// [From].
//
// The program's own mistakes are handed back as other errors, which go out as api_error: a v
// that is no non-nil pointer (*json.InvalidUnmarshalError), a value for a type that no JSON can
// be read into (a channel, a function, an interface with methods), a member of a struct that is
// embedded by a pointer to an unexported type.
//
// After an error v may be filled in part. The Go values may need much more memory than their
// JSON: "[{},{}]" needs a whole struct for every three bytes. MaxBody is the bound of that too.
func DecodeJSON(w http.ResponseWriter, r *http.Request, v any, o *DecodeOptions) error {
	var opt DecodeOptions
	if o != nil {
		opt = *o
	}
	if !opt.AnyMediaType && !isJSON(r.Header) && !isEmpty(r) {
		return UnsupportedMediaType("application/json")
	}
	body, err := readRequest(w, r, opt.MaxBody)
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
	err = decoder.Decode(v)
	if fault := unreadable(err, body); fault != nil {
		return fault
	}
	in := inspector{scanner: scanner{text: body}, allowUnknown: opt.AllowUnknown, failed: err}
	if !in.value(shapeOf(reflect.TypeOf(v))) {
		return in.found.answer()
	}
	if err != nil {
		return (&refusal{err: err}).answer()
	}
	if rest := bytes.TrimLeft(body[decoder.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return CodeParameterInvalid.Messagef("The request body has something after its JSON value, at byte %d.", len(body)-len(rest)+1)
	}
	if t := reflect.TypeOf(v).Elem(); string(text) == "null" && t.Kind() != reflect.Pointer && !shapeOf(t).own {
		if problem := expected(t, nil); problem != "" {
			return CodeParameterInvalid.Messagef("The request body %s.", problem)
		}
	}
	return nil
}

// unreadable returns what is wrong with the target or with the syntax of the body, nil if
// nothing is. An UnmarshalJSON may return a syntax error too, of its own part, so the body is
// asked.
func unreadable(err error, body []byte) error {
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return err
	}
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	if isSyntax || errors.Is(err, io.ErrUnexpectedEOF) {
		var value json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&value); err != nil {
			return malformed(err, len(body))
		}
	}
	return nil
}

// isEmpty reports whether a request has no body. If its header does not say so, it reads a byte:
// the rest is of no use then.
func isEmpty(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength >= 0 {
		return r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0
	}
	n, err := io.ReadFull(r.Body, make([]byte, 1))
	return n == 0 && err == io.EOF
}

// isJSON reports whether there is one Content-Type, which is JSON in UTF-8.
func isJSON(h http.Header) bool {
	values := h["Content-Type"]
	if len(values) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || !mediatype.IsJSON(mediaType) {
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
		return nil, unreadBody(err)
	}
	return b.Bytes(), nil
}

// answer says in the client's words what is wrong. What the type's own UnmarshalJSON says of it
// goes out, if it is meant to.
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

func malformed(err error, length int) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return CodeParameterInvalid.Messagef("The request body is not valid JSON, at byte %d.", syntax.Offset).WithCause(err)
	}
	return CodeParameterInvalid.Messagef("The request body is not valid JSON: it ends at byte %d, in the middle.", length).WithCause(err)
}

// expected completes "the parameter …": what JSON a Go type is read from, "" where that cannot
// be said. got is what came, if that was a number.
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
