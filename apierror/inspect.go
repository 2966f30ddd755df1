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

// inspector walks over a body that encoding/json has accepted as JSON, guided by the type that it
// is read into. It finds the first member that is given twice and, if decoding failed, the first
// value that was refused. It looks at each value once, so that refusing a body costs little more
// than reading it, for wide and deep types and long lists too.
type inspector struct {
	scanner
	path         path
	allowUnknown bool
	failed       error // the error of encoding/json; if nil, only duplicates are looked for
	found        *refusal

	names [][]byte // of the members seen in the objects that are still open
}

// refuse records what is wrong with the current value, and ends the walk.
func (in *inspector) refuse(r refusal) (more bool) {
	r.at = slices.Clone(in.path)
	if r.err == nil {
		r.err = in.failed
	}
	in.found = &r
	return false
}

// value walks over the next value, which is read into s. If s is nil, nothing reads it.
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
	case first == '{', first == '[':
		if !s.nests(first) {
			return in.refuse(refusal{problem: expected(s.t, nil)})
		}
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

// isHopeless reports whether decoding failed because of the program's mistake. An interface
// with methods may hold a pointer that the program has put there, and then the value was
// read into what it points to.
func (in *inspector) isHopeless(s *shape) bool {
	if s.kind != reflect.Interface {
		return true
	}
	wrongType, ok := errors.AsType[*json.UnmarshalTypeError](in.failed)
	return ok && wrongType.Type == s.t
}

// content walks over an object, an array or a literal.
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
		if elem != nil && s.kind == reflect.Array && i >= s.length { // encoding/json skips it
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
	names := len(in.names)
	var fields *members
	if s != nil && s.members != nil {
		fields = s.members()
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

		i, key := -1, sameKey(s, name)
		if fields != nil {
			i = fields.find(name)
		}
		if i >= 0 {
			key = fields.list[i].name
		}
		if in.seen(key, names, &many) {
			return in.refuse(refusal{problem: "is given more than once"})
		}
		if !in.member(s, fields, i, name) {
			return false
		}
	}
	in.path = in.path[:len(in.path)-1]
	in.names = in.names[:names]
	return true
}

// seen reports whether a name is in in.names[from:] or in many, and adds it.
func (in *inspector) seen(name []byte, from int, many *map[string]struct{}) (twice bool) {
	const few = 16
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

// member walks over the value of a member of s. The member is fields.list[i], or no field
// if i is negative.
func (in *inspector) member(s *shape, fields *members, i int, name []byte) (more bool) {
	switch {
	case s == nil || s.kind == reflect.Interface: // the same holds for all that is in it
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

// quoted walks over the value of a field with the tag option ",string".
func (in *inspector) quoted(m *member) (more bool) {
	first := in.peek()
	start := in.pos
	if !in.content(nil, first) {
		return false
	}
	literal := in.text[start:in.pos]
	if s := m.shape(); first == '"' && isNumber(literal[1:]) && !s.own && s.kind != reflect.String && s.takes(literal[1:len(literal)-1]) {
		return true // nearly always; the others are decoded once more
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

// sameKey returns one name for all names that are read into the same key of a map, such as 1 and
// 01. For anything but a map it returns the name itself.
func sameKey(s *shape, name []byte) []byte {
	if s == nil || s.kind != reflect.Map || s.keyText || !isInteger(s.key.Kind()) {
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

// asks decodes a value into a new value of the type, and refuses it if that fails. own reports
// whether a method of the type decides.
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
		// If the error's field name is the one at its offset, the method has read value, or
		// a part of it, with encoding/json.
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

// guard calls a method of a target's type again, with a new value. A panic of the method is
// ignored: it is not the client's fault.
func guard(call func() error) error {
	defer func() { _ = recover() }()
	return call()
}

// isNumber reports whether a text begins like a number.
func isNumber(text []byte) bool {
	return len(text) > 0 && (text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}
