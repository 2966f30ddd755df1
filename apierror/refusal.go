package apierror

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
)

// refusal is a value in a request's body that the type it is read into does not take.
type refusal struct {
	at   path
	err  error
	key  bool // the key is refused, not the value
	self bool // by the value type's own UnmarshalJSON
}

// problem completes "the parameter …"; "" where nothing can be said.
func (r refusal) problem() string {
	wrongType, ok := errors.AsType[*json.UnmarshalTypeError](r.err)
	switch {
	case r.key:
		return "is not a valid key"
	case !ok || r.self:
		return ""
	default:
		return expected(wrongType.Type, wrongType.Value)
	}
}

// within is the refusal of the part of value at which its type's own UnmarshalJSON stopped, if that is known: it read value or
// a part of it with encoding/json, and the names that it went along say that the offset is one in value.
func (r refusal) within(value []byte) refusal {
	wrongType, ok := errors.AsType[*json.UnmarshalTypeError](r.err)
	if !ok {
		return r
	}
	at, _, exact := pathAt(value, int(wrongType.Offset))
	if !exact || !at.follows(wrongType.Field) {
		return r
	}
	return refusal{at: append(r.at, at...), err: r.err}
}

// maxLookups bounds how often a hostile body can make a step from a type to that of a field: one is about a microsecond.
const maxLookups = 10_000

// findRefusal returns what made reading the text into t fail with err. encoding/json reports the first value that is refused, so
// it is the one at err's offset, or else (an UnmarshalJSON counts the bytes of its own part, and most errors have no
// offset) the first that is refused on its own.
func findRefusal(err *json.UnmarshalTypeError, text []byte, t reflect.Type) (found refusal, ok bool) {
	if err != nil {
		if at, start, exact := pathAt(text, int(err.Offset)); exact {
			if found, ok = refuses(t, at, text, start, int(err.Offset)); ok {
				return found, true
			}
		}
	}
	lookups := 0
	s := scanner{text: text}
	s.visit = func(start, end int) (more bool) {
		lookups += 2*len(s.path) + 1
		if lookups <= maxLookups {
			found, ok = refuses(t, s.path, text, start, end)
		}
		return !ok && lookups <= maxLookups
	}
	s.value()
	return found, ok
}

// refuses reads the value at p, and nothing else, into its place in t. An object or array is read as an empty one, unless its
// type has its own UnmarshalJSON. A key at p (start is its quote, and end follows it) is read with null as its value.
func refuses(t reflect.Type, p path, text []byte, start, end int) (refusal, bool) {
	target, known := typeAt(t, p)
	if !known || target == nil {
		return refusal{}, false
	}
	value, key := text[start:end], text[start] == '"' && end == start+1
	switch {
	case key:
		value = []byte("null")
	case unmarshalsItself(target):
		if value = first(text[start:]); value == nil {
			return refusal{}, false
		}
		if err := json.Unmarshal(value, reflect.New(target).Interface()); err != nil {
			return refusal{at: slices.Clone(p), err: err, self: true}.within(value), true
		}
	case text[start] == '{':
		value = []byte("{}")
	case text[start] == '[':
		value = []byte("[]")
	}
	if len(p) > 0 && p[len(p)-1].index < 0 { // within its object: the key, or an option in the field's tag, may be what matters
		if parent, _ := typeAt(t, p[:len(p)-1]); parent != nil {
			name, _ := json.Marshal(p[len(p)-1].key)
			value = slices.Concat([]byte("{"), name, []byte(":"), value, []byte("}"))
			target = parent
		}
	}
	if err := json.Unmarshal(value, reflect.New(target).Interface()); err != nil {
		return refusal{at: slices.Clone(p), err: err, key: key}, true
	}
	return refusal{}, false
}

// first is the JSON value that text begins with.
func first(text []byte) (value json.RawMessage) {
	if json.NewDecoder(bytes.NewReader(text)).Decode(&value) != nil {
		return nil
	}
	return value
}

// findUnknown returns the path of the first member that has this name and no field in the type that the text is read into, nil
// where there is none.
func findUnknown(text []byte, name string, t reflect.Type) (found path) {
	lookups := 0
	s := scanner{text: text, visit: func(int, int) bool { return true }}
	s.visitKey = func(int) (more bool) {
		if s.path[len(s.path)-1].key != name {
			return true
		}
		if lookups += len(s.path); lookups > maxLookups {
			return false
		}
		if _, known := typeAt(t, s.path); !known {
			found = slices.Clone(s.path)
		}
		return found == nil
	}
	s.value()
	return found
}

// typeAt is the type that the value at p is read into: nil where its fields do not show it, not known where a struct on the way
// has no such field.
func typeAt(t reflect.Type, p path) (at reflect.Type, known bool) {
	for _, s := range p {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch kind := t.Kind(); {
		case unmarshalsItself(t):
			return nil, true
		case kind == reflect.Slice || kind == reflect.Array || kind == reflect.Map:
			t = t.Elem()
		case kind == reflect.Struct:
			if t = fieldNamed(t, s.key); t == nil {
				return nil, false
			}
		case kind == reflect.Interface && t.NumMethod() == 0: // and so is what is in it
		default:
			return nil, true
		}
	}
	return t, true
}

// fieldNamed is the type of the field that encoding/json reads a member into: of the exact name, else of one in another case;
// nil for none.
func fieldNamed(t reflect.Type, key string) (similar reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		name, ok := memberName(f)
		if !ok || promotedFromNamed(t, f) {
			continue
		}
		if name == key {
			return f.Type
		}
		if similar == nil && strings.EqualFold(name, key) {
			similar = f.Type
		}
	}
	return similar
}

// memberName is the name of a field in JSON; it is not ok where the field is no member itself.
func memberName(f reflect.StructField) (name string, ok bool) {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return "", false
	}
	name, _, _ = strings.Cut(tag, ",")
	embedded := f.Anonymous && (f.Type.Kind() == reflect.Struct || f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct)
	switch {
	case embedded:
		return name, name != "" // else its fields are members, not it
	case name == "":
		name = f.Name
	}
	return name, f.IsExported()
}

// promotedFromNamed tells whether a field belongs to an embedded struct that is a member of its own, as its tag names it.
func promotedFromNamed(t reflect.Type, f reflect.StructField) bool {
	for i := 1; i < len(f.Index); i++ {
		if _, ok := memberName(t.FieldByIndex(f.Index[:i])); ok {
			return true
		}
	}
	return false
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func unmarshalsItself(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer && !t.Implements(jsonUnmarshaler) {
		t = t.Elem()
	}
	return t.Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(jsonUnmarshaler)
}
