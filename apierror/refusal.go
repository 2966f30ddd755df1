package apierror

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// refusal is what is wrong with a part of a request's body.
type refusal struct {
	at      path
	problem string // completes "the parameter …"; "" if nothing can be said
	err     error  // of the type's own method, nil if it has none; or that of encoding/json
	mistake error  // of the program, which nothing could be read into
}

// inspector walks once over a body that encoding/json has found to be valid JSON, guided by the
// type that it is read into. It finds the first member that is given twice and, if decoding
// failed, the first value that was refused. Each value is looked at once, so that a refusal
// costs little more than reading does, for wide and deep types and long lists too.
type inspector struct {
	scanner
	path         path
	allowUnknown bool
	failed       error // what encoding/json returned; if nil, only duplicates are looked for
	found        *refusal

	// What was seen in the objects that are still open: a bit for each member of a struct, and
	// all other names.
	bits  []uint64
	names [][]byte
}

// refuse ends the walk.
func (in *inspector) refuse(r refusal) (more bool) {
	r.at = slices.Clone(in.path)
	if r.err == nil {
		r.err = in.failed
	}
	in.found = &r
	return false
}

// value walks over the next value. It is read into s, or is nobody's if s is nil.
func (in *inspector) value(s *shape) (more bool) {
	first := in.peek()
	start := in.pos
	switch {
	case s == nil || s.own && in.failed == nil:
		return in.content(nil, first)
	case in.failed == nil:
		return in.content(s, first)
	case s.own && (!s.nullable || first != 'n'):
		return in.content(nil, first) && in.asks(s.t, in.text[start:in.pos], true)
	case s.hopeless && first != 'n' && in.isHopeless(s):
		return in.refuse(refusal{mistake: fmt.Errorf("apierror: no JSON can be read into %v", s.t)})
	case first == '{' && (s.text || s.kind != reflect.Struct && s.kind != reflect.Map && s.kind != reflect.Interface),
		first == '[' && (s.text || s.elem == nil && s.kind != reflect.Interface || s.kind == reflect.Map):
		return in.refuse(refusal{problem: expected(s.t, nil)})
	case first == '{', first == '[':
		return in.content(s, first)
	}
	in.skipLiteral(first)
	literal := in.text[start:in.pos]
	switch {
	case s.takes(literal):
		return true
	case first == '"' && (s.text || s.base == jsonNumber || s.kind == reflect.Slice && s.base.Elem().Kind() == reflect.Uint8):
		return in.asks(s.t, literal, s.text)
	default:
		return in.refuse(refusal{problem: expected(s.t, literal)})
	}
}

// isHopeless reports whether the program's mistake is what decoding failed for. An interface
// with methods may hold a pointer that the program has put there, and is then read into that.
func (in *inspector) isHopeless(s *shape) bool {
	if s.kind != reflect.Interface {
		return true
	}
	wrongType, ok := errors.AsType[*json.UnmarshalTypeError](in.failed)
	return ok && wrongType.Type == s.t
}

// content walks over what is in an object or array, or over a literal.
func (in *inspector) content(s *shape, first byte) (more bool) {
	switch first {
	case '{':
		return in.object(s)
	case '[':
		return in.array(s)
	default:
		in.skipLiteral(first)
		return true
	}
}

func (in *inspector) array(s *shape) (more bool) {
	in.pos++
	elem := s
	if s != nil && s.elem != nil {
		elem = s.elem()
	}
	in.path = append(in.path, step{})
	for i := 0; in.next(']'); i++ {
		in.path[len(in.path)-1].index = i
		if elem != nil && s.kind == reflect.Array && i >= s.length { // encoding/json passes over it
			elem = nil
		}
		if !in.value(elem) {
			return false
		}
	}
	in.path = in.path[:len(in.path)-1]
	return true
}

func (in *inspector) object(s *shape) (more bool) {
	in.pos++
	bits, names := len(in.bits), len(in.names)
	var fields *members
	if s != nil && s.members != nil {
		fields = s.members()
		n := (len(fields.list) + 63) / 64
		in.bits = slices.Grow(in.bits, n)[:bits+n]
		clear(in.bits[bits:])
	}
	var many map[string]struct{} // names, once they are many
	in.path = append(in.path, step{})
	for in.next('}') {
		start := in.pos
		in.skipString()
		name := unescaped(in.text[start:in.pos])
		in.path[len(in.path)-1] = step{key: name, index: -1}
		in.peek()
		in.pos++ // the colon

		i := -1
		if fields != nil {
			i = fields.find(name)
		}
		var twice bool
		if i >= 0 {
			word, bit := &in.bits[bits+i/64], uint64(1)<<(i%64)
			twice = *word&bit != 0
			*word |= bit
		} else {
			key := name
			if s != nil && s.kind == reflect.Map {
				key = sameKey(s, name)
			}
			twice = in.seen(key, names, &many)
		}
		if twice {
			return in.refuse(refusal{problem: "is given more than once"})
		}
		if !in.member(s, fields, i, name) {
			return false
		}
	}
	in.path = in.path[:len(in.path)-1]
	in.bits, in.names = in.bits[:bits], in.names[:names]
	return true
}

// seen reports whether a name is among those since the index from, and adds it.
func (in *inspector) seen(name []byte, from int, many *map[string]struct{}) (twice bool) {
	const few = 8
	if len(in.names)-from < few {
		twice = slices.ContainsFunc(in.names[from:], func(n []byte) bool { return bytes.Equal(n, name) })
		in.names = append(in.names, name)
		return twice
	}
	if *many == nil {
		*many = make(map[string]struct{})
		for _, n := range in.names[from:] {
			(*many)[string(n)] = struct{}{}
		}
	}
	_, twice = (*many)[string(name)]
	(*many)[string(name)] = struct{}{}
	return twice
}

// member walks over the value of a member of s, which is its i-th field.
func (in *inspector) member(s *shape, fields *members, i int, name []byte) (more bool) {
	switch {
	case s == nil || s.kind == reflect.Interface: // and so is what is in it
		return in.value(s)
	case s.kind == reflect.Map:
		if in.failed != nil && !in.keyTaken(s, name) {
			return false
		}
		return in.value(s.elem())
	case i < 0:
		if in.failed != nil && !in.allowUnknown {
			return in.refuse(refusal{problem: "is not known"})
		}
		return in.value(nil)
	}
	m := &fields.list[i]
	if in.failed == nil {
		return in.value(m.shape())
	}
	if m.lost {
		if _, other := errors.AsType[*json.UnmarshalTypeError](in.failed); !other {
			return in.refuse(refusal{mistake: fmt.Errorf("apierror: %v embeds a pointer to an unexported struct, which encoding/json cannot set", s.t)})
		}
	}
	if m.quoted {
		return in.quoted(m)
	}
	return in.value(m.shape())
}

// quoted walks over the value of a field with the option ,string.
func (in *inspector) quoted(m *member) (more bool) {
	first := in.peek()
	start := in.pos
	if !in.content(nil, first) {
		return false
	}
	literal := in.text[start:in.pos]
	if s := m.shape(); first == '"' && isNumber(literal[1:]) && !s.own && s.kind != reflect.String && s.takes(literal[1:len(literal)-1]) {
		return true // as nearly all are: the others are decoded once more
	}
	return in.asks(m.alone(), slices.Concat([]byte(`{"f":`), literal, []byte("}")), false)
}

// keyTaken reports whether a map's key can be read from a name.
func (in *inspector) keyTaken(s *shape, name []byte) bool {
	var err error
	switch k := s.key.Kind(); {
	case s.keyText:
		literal, _ := json.Marshal(string(name))
		err = guard(func() error { return json.Unmarshal(literal, reflect.New(s.key).Interface()) })
	case isSigned(k):
		n, parseErr := strconv.ParseInt(string(name), 10, 64)
		if parseErr == nil && !s.key.OverflowInt(n) {
			return true
		}
		err = in.failed
	case isUnsigned(k):
		n, parseErr := strconv.ParseUint(string(name), 10, 64)
		if parseErr == nil && !s.key.OverflowUint(n) {
			return true
		}
		err = in.failed
	}
	return err == nil || in.refuse(refusal{problem: "is not a valid key", err: err})
}

// sameKey returns one name for all names that are read into the same key of a map: 1 and 01.
func sameKey(s *shape, name []byte) []byte {
	if s.keyText || !isInteger(s.key.Kind()) {
		return name
	}
	if n, err := strconv.ParseInt(string(name), 10, 64); err == nil {
		return strconv.AppendInt(nil, n, 10)
	}
	if n, err := strconv.ParseUint(string(name), 10, 64); err == nil {
		return strconv.AppendUint(nil, n, 10)
	}
	return name
}

// asks lets encoding/json read a value into a new value of the type. own says that it is a
// method of the type's which refuses.
func (in *inspector) asks(t reflect.Type, value []byte, own bool) (more bool) {
	err := guard(func() error { return json.Unmarshal(value, reflect.New(t).Interface()) })
	if err == nil {
		return true
	}
	if !own {
		return in.refuse(refusal{})
	}
	r := refusal{err: err}
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		// It read value, or a part of it, with encoding/json, if what is at the offset bears the
		// name that is in the error.
		if at, exact := pathAt(value, int(wrongType.Offset)); exact && at.endsIn(wrongType.Field) {
			in.path = append(in.path, at...)
			r.problem = expected(wrongType.Type, nil)
			if digits, ok := bytes.CutPrefix([]byte(wrongType.Value), []byte("number ")); ok {
				r.problem = expected(wrongType.Type, digits)
			}
		}
	}
	return in.refuse(r)
}

// guard calls a method of a target's type once more, with a value of its own. What it panics
// with is not the client's fault.
func guard(call func() error) error {
	defer func() { _ = recover() }()
	return call()
}

// isNumber reports whether a text begins as a number does.
func isNumber(text []byte) bool {
	return len(text) > 0 && (text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}

// takes reports whether encoding/json reads a literal into a type that it knows by its kind. It
// may report false for a string that is read, into base64 or a json.Number.
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
