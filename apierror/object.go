package apierror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/seawall-go/seawall/internal/mediatype"
)

// object holds the members of a JSON object: of an error object, of the object around it, or of
// problem details. It is nil for any other value.
type object []property

// property is a member of a JSON object.
type property struct {
	name  []byte
	value []byte // JSON
}

// objectIn returns the object in a text that encoding/json has accepted.
func objectIn(text []byte) object {
	if !isObject(text) {
		return nil
	}
	o := make(object, 0, 8)
	for key, value := range children(text, '{') {
		o = append(o, property{unescaped(key), value})
	}
	return o
}

func isObject(text []byte) bool { return len(text) > 0 && text[0] == '{' }

// member returns the value of the member of that name. If there are several, it returns the
// last, as encoding/json does. Unlike encoding/json, it distinguishes upper and lower case.
func (o object) member(name string) []byte {
	for _, p := range slices.Backward(o) {
		if string(p.name) == name {
			return p.value
		}
	}
	return nil
}

// text returns a member that is a string. It is empty for any other value.
func (o object) text(name string) string { return textOf(o.member(name)) }

// readObject fills e from the error object or the problem details in a body, and returns the
// request id in it.
func (e *Error) readObject(h http.Header, text []byte) (requestID string) {
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n")
	if !isObject(text) {
		return ""
	}
	if !json.Valid(text) {
		text = firstValue(text) // a proxy may have added something
	}
	top := objectIn(text)
	o := objectIn(top.member("error"))
	if o == nil && isProblem(h) {
		return e.readProblem(top)
	}
	code, typ := o.text("code"), o.text("type")
	e.message = o.text("message")
	if code == "" && typ == "" {
		return o.text("request_id")
	}
	e.more.origin.object = true
	e.code = Code(code)
	if d := builtin.find(e.code); d != nil {
		e.typ = d.Type
	}
	e.typ = cmp.Or(Type(typ), e.typ)
	return e.readMembers(o)
}

// readProblem reads RFC 9457's problem details. Their type is a link, so the error's type
// follows from the code.
func (e *Error) readProblem(o object) (requestID string) {
	e.message = cmp.Or(o.text("detail"), o.text("title"))
	e.code = Code(o.text("code"))
	e.more.origin.object = e.code != "" || e.message != ""
	if d := builtin.find(e.code); d != nil {
		e.typ = d.Type
	}
	if link := o.text("type"); link != "about:blank" {
		e.more.docURL = link
	}
	return cmp.Or(e.readMembers(o), o.text("instance"))
}

// readMembers reads the members that both forms have.
func (e *Error) readMembers(o object) (requestID string) {
	e.param = o.text("param")
	e.more.docURL = cmp.Or(o.text("doc_url"), e.more.docURL)
	e.more.fields = fieldsIn(o.member("errors"))
	e.more.metadata = metadataIn(o.member("metadata"))
	return o.text("request_id")
}

func isProblem(h http.Header) bool { return mediatype.Of(h) == "application/problem+json" }

// firstValue returns the JSON value that text begins with. It is nil if there is none.
func firstValue(text []byte) []byte {
	var value json.RawMessage
	if json.NewDecoder(bytes.NewReader(text)).Decode(&value) != nil {
		return nil
	}
	return value
}

func fieldsIn(text []byte) (fields []Field) {
	left := maxFields
	for _, value := range children(text, '[') {
		if left--; left < 0 {
			break
		}
		if o := objectIn(value); o != nil {
			fields = append(fields, Field{Code(o.text("code")), o.text("param"), o.text("message")})
		}
	}
	return fields
}

func metadataIn(text []byte) map[string]string {
	if text == nil {
		return nil
	}
	values := make(map[string][]byte)
	for key, value := range children(text, '{') {
		values[textOf(key)] = value
	}
	metadata := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if value := values[name]; value[0] == '"' && len(metadata) < maxMetadata {
			metadata[name] = textOf(value)
		}
	}
	if len(metadata) == 0 {
		return nil
	}
	return metadata
}
