package apierror

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// path leads to a value within a JSON text.
type path []step

type step struct {
	key   string
	index int // -1 for a member
}

// String is the path as a client writes it: items[1].price.
func (p path) String() string {
	var b strings.Builder
	for _, s := range p {
		switch {
		case s.index >= 0:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.index))
			b.WriteByte(']')
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
		if b.Len() > maxParam {
			break
		}
	}
	return b.String()
}

// follows tells whether the path goes along field, encoding/json's list of the Go fields that it was in: without indices and
// without the keys of maps.
func (p path) follows(field string) bool {
	for _, s := range p {
		if field == "" {
			break
		}
		if s.index < 0 && len(field) >= len(s.key) && strings.EqualFold(field[:len(s.key)], s.key) {
			if rest := field[len(s.key):]; rest == "" || rest[0] == '.' {
				field = strings.TrimPrefix(rest, ".")
			}
		}
	}
	return field == ""
}

// pathAt returns the path of the value at which encoding/json stopped: its offset is the end of a literal, or the first byte within
// an object or array. Not exact means that no value is there and the path is that of the one before.
func pathAt(body []byte, offset int) (at path, exact bool) {
	s := scanner{text: body}
	s.visit = func(_, end int) bool {
		if end > offset {
			return false
		}
		at, exact = append(at[:0], s.path...), end == offset
		return !exact
	}
	s.value()
	return at, exact
}

// maxLookups bounds how often a hostile body can make the type of a value be looked up: a look-up is a microsecond.
const maxLookups = 10_000

// pathOfUnknown returns the path of the first member that has this name and no field in the type that the body is read into.
func pathOfUnknown(body []byte, name string, t reflect.Type) string {
	found, lookups := name, 0
	s := scanner{text: body}
	s.visit = func(int, int) bool {
		last := len(s.path) - 1
		if last < 0 || s.path[last].index >= 0 || s.path[last].key != name {
			return true
		}
		if lookups++; lookups > maxLookups {
			return false
		}
		if _, known := typeAt(t, s.path); known {
			return true
		}
		found = s.path.String()
		return false
	}
	s.value()
	return found
}

// pathOfInvalid returns the path of the first literal that the type it is read into refuses by its own UnmarshalJSON or
// UnmarshalText, nil where none does.
func pathOfInvalid(body []byte, t reflect.Type) (at path) {
	lookups := 0
	s := scanner{text: body}
	s.visit = func(start, end int) bool {
		if s.text[start] == '{' || s.text[start] == '[' {
			return true
		}
		if lookups++; lookups > maxLookups {
			return false
		}
		target, ok := typeAt(t, s.path)
		if !ok || target == nil {
			return true
		}
		if json.Unmarshal(s.text[start:end], reflect.New(target).Interface()) == nil {
			return true
		}
		at = slices.Clone(s.path)
		return false
	}
	s.value()
	return at
}

// typeAt is the type that the value at p is read into: nil where its fields do not show it, not ok where a struct on the way has no
// such field.
func typeAt(t reflect.Type, p path) (at reflect.Type, ok bool) {
	for _, s := range p {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			if t, ok = fieldNamed(t, s.key); !ok {
				return nil, false
			}
		default:
			return nil, true
		}
	}
	return t, true
}

func fieldNamed(t reflect.Type, key string) (reflect.Type, bool) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Tag.Get("json") == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if strings.EqualFold(name, key) {
			return f.Type, true
		}
	}
	return nil, false
}

// scanner walks over a text that encoding/json has found to begin with a valid value. visit is called for each value, with
// path leading to it and where it stands in the text: an object or array with its first byte, before its members.
type scanner struct {
	text  []byte
	pos   int
	path  path
	visit func(start, end int) (more bool)
}

func (s *scanner) value() (more bool) {
	first := s.peek()
	start := s.pos
	switch first {
	case '{':
		return s.list('}', func(int) bool {
			key := s.str()
			s.peek()
			s.pos++ // the colon
			return s.member(step{key: key, index: -1})
		})
	case '[':
		return s.list(']', func(i int) bool { return s.member(step{index: i}) })
	case '"':
		s.skipString()
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(" \t\r\n,]}", rune(s.text[s.pos])) {
			s.pos++
		}
	}
	return s.visit(start, s.pos)
}

// list walks over the members of an object or array.
func (s *scanner) list(end byte, member func(i int) bool) (more bool) {
	s.pos++
	if !s.visit(s.pos-1, s.pos) {
		return false
	}
	for i := 0; ; i++ {
		switch s.peek() {
		case end:
			s.pos++
			return true
		case 0:
			return false
		case ',':
			s.pos++
			s.peek()
		}
		if !member(i) {
			return false
		}
	}
}

func (s *scanner) member(to step) (more bool) {
	s.path = append(s.path, to)
	more = s.value()
	s.path = s.path[:len(s.path)-1]
	return more
}

// peek skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) str() string {
	start := s.pos
	s.skipString()
	return stringOf(s.text[start:s.pos])
}

func (s *scanner) skipString() {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return
		}
	}
	s.pos = len(s.text)
}
