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

// DecodeOptions are the options of [DecodeJSON]. The zero value is the default.
type DecodeOptions struct {
	// MaxBody is the largest body that is accepted, in bytes. If zero, the limit is 1 MiB.
	// If negative, there is no limit.
	MaxBody int64

	// AllowUnknown ignores members that the target has no field for. By default they are
	// refused.
	AllowUnknown bool

	// AnyMediaType accepts any Content-Type. By default it must be JSON, which a web page of
	// another origin cannot send without a CORS preflight.
	AnyMediaType bool
}

// DecodeJSON reads the request's body, one JSON value, into v, a non-nil pointer. If o is
// nil, the defaults apply. If the client is at fault, the result is an *Error. It names the
// parameter as the client spells it, such as "items[1].price", and no Go type:
//
//	parameter_missing        there is no body
//	parameter_invalid        a member is of the wrong type, unknown, or given twice
//	                         (names are compared as encoding/json compares them)
//	parameter_invalid        the body is not JSON, or has something after its JSON value; the
//	                         message names the byte
//	unsupported_media_type   the Content-Type is not JSON
//	request_too_large        the body has more than MaxBody bytes; the connection may be closed
//
// A body of null is parameter_invalid, unless *v is a pointer, an interface, or of a type
// with an UnmarshalJSON method. If there are several mistakes, the first one in the body is
// reported. If a type's own UnmarshalJSON or UnmarshalText refuses its value with an *Error
// or a [Code], that error is the result. If it refuses with any other error, the result is
// parameter_invalid. DecodeJSON may call such a method again, with a new value and the same
// text, to find out which value it refused. An error from reading the body becomes the
// error that [From] returns for it, or parameter_invalid if From does not know it.
//
// Mistakes of the program are returned as other errors, so they are sent as api_error: a v
// that is nil or not a pointer (*json.InvalidUnmarshalError), a type that no JSON can be
// read into (a channel, a function, an interface with methods), or a struct that embeds a
// pointer to an unexported struct.
//
// After an error, v may be partly filled in. Go values may need much more memory than their
// JSON: "[{},{}]" needs a whole struct for every three bytes. MaxBody bounds that too.
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
		at := len(body) - len(rest) + 1
		return CodeParameterInvalid.Messagef("The request body has something after its JSON value, at byte %d.", at)
	}
	if t := reflect.TypeOf(v).Elem(); string(text) == "null" && t.Kind() != reflect.Pointer && !shapeOf(t).own {
		if problem := expected(t, nil); problem != "" {
			return CodeParameterInvalid.Messagef("The request body %s.", problem)
		}
	}
	return nil
}

// unreadable returns the error of a target that nothing can be read into, or of a body that
// is not JSON. It is nil for any other error. An UnmarshalJSON method may also return a
// syntax error, about a part of the body, so the whole body is checked.
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

// isEmpty reports whether a request has no body. If the header does not say, it reads a
// byte, after which the body cannot be used.
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

// readRequest reads the whole body, up to the limit.
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
