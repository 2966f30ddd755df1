package apierror

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"sync"
)

// shape describes what JSON encoding/json reads into a type. There is one for each type.
type shape struct {
	t        reflect.Type
	base     reflect.Type // t without its pointers
	kind     reflect.Kind // of base; Invalid if a pointer on the way reads the value itself
	nullable bool         // t is a pointer: null never reaches what it points to
	own      bool         // its UnmarshalJSON reads it
	text     bool         // its UnmarshalText reads it
	hopeless bool         // no JSON but null can be read into it: a mistake of the program

	elem    func() *shape   // of a slice, an array or a map
	members func() *members // of a struct
	length  int             // of an array
	key     reflect.Type    // of a map
	keyText bool            // the key's UnmarshalText reads it
}

var (
	shapes sync.Map // from reflect.Type to *shape

	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonNumber      = reflect.TypeFor[json.Number]()
)

func shapeOf(t reflect.Type) *shape {
	known, ok := shapes.Load(t)
	if !ok {
		known, _ = shapes.LoadOrStore(t, newShape(t))
	}
	return known.(*shape)
}

func newShape(t reflect.Type) *shape {
	s := &shape{t: t, nullable: t.Kind() == reflect.Pointer}
	reads := func(pointer reflect.Type) bool {
		s.own = pointer.Implements(jsonUnmarshaler)
		s.text = !s.own && pointer.Implements(textUnmarshaler)
		return s.own || s.text
	}
	for ; t.Kind() == reflect.Pointer; t = t.Elem() {
		if reads(t) {
			return s
		}
	}
	s.base, s.kind = t, t.Kind()
	if t.Name() != "" && reads(reflect.PointerTo(t)) { // encoding/json asks only types with a name
		return s
	}
	switch s.kind {
	case reflect.Struct:
		s.members = sync.OnceValue(func() *members { return membersOf(t) })
	case reflect.Array:
		s.length = t.Len()
		s.elem = sync.OnceValue(func() *shape { return shapeOf(t.Elem()) })
	case reflect.Slice:
		s.elem = sync.OnceValue(func() *shape { return shapeOf(t.Elem()) })
	case reflect.Map:
		s.elem = sync.OnceValue(func() *shape { return shapeOf(t.Elem()) })
		s.key = t.Key()
		s.keyText = reflect.PointerTo(s.key).Implements(textUnmarshaler)
		s.hopeless = !s.keyText && s.key.Kind() != reflect.String && !isInteger(s.key.Kind())
	case reflect.Interface:
		s.hopeless = t.NumMethod() > 0
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		s.hopeless = true
	}
	return s
}

func isInteger(k reflect.Kind) bool { return isSigned(k) || isUnsigned(k) }
func isSigned(k reflect.Kind) bool  { return k >= reflect.Int && k <= reflect.Int64 }
func isUnsigned(k reflect.Kind) bool {
	return k >= reflect.Uint && k <= reflect.Uintptr
}

// nests reports whether an object, if first is '{', or an array, if it is '[', is read into s.
func (s *shape) nests(first byte) bool {
	switch {
	case s.text:
		return false
	case s.kind == reflect.Interface:
		return true
	case first == '{':
		return s.kind == reflect.Struct || s.kind == reflect.Map
	default:
		return s.kind == reflect.Slice || s.kind == reflect.Array
	}
}

// takes reports whether encoding/json reads a literal into a type by its kind alone. It may report
// false for a string that is read as base64 or a json.Number.
func (s *shape) takes(literal []byte) bool {
	if s.kind == reflect.Invalid || s.text {
		return literal[0] == 'n'
	}
	switch c := literal[0]; {
	case c == 'n':
		return true
	case c == 't' || c == 'f':
		return s.kind == reflect.Bool || s.kind == reflect.Interface
	case c == '"':
		return s.kind == reflect.String && s.base != jsonNumber || s.kind == reflect.Interface
	case s.base == jsonNumber:
		return true
	case isSigned(s.kind):
		n, err := strconv.ParseInt(string(literal), 10, 64)
		return err == nil && !s.base.OverflowInt(n)
	case isUnsigned(s.kind):
		n, err := strconv.ParseUint(string(literal), 10, 64)
		return err == nil && !s.base.OverflowUint(n)
	case s.kind == reflect.Interface:
		_, err := strconv.ParseFloat(string(literal), 64)
		return err == nil
	case s.kind == reflect.Float32 || s.kind == reflect.Float64:
		_, err := strconv.ParseFloat(string(literal), s.base.Bits())
		return err == nil
	default:
		return false
	}
}
