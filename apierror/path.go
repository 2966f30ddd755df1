package apierror

import (
	"reflect"
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
	s.visit = func(end int) bool {
		if end > offset {
			return false
		}
		at, exact = append(at[:0], s.path...), end == offset
		return !exact
	}
	s.value()
	return at, exact
}

// pathOfUnknown returns the path of the first member that has this name and no field in the type that the body is read into.
func pathOfUnknown(body []byte, name string, t reflect.Type) string {
	found := name
	s := scanner{text: body}
	s.visit = func(int) bool {
		last := len(s.path) - 1
		if last < 0 || s.path[last].index >= 0 || s.path[last].key != name || hasField(t, s.path[:last], name) {
			return true
		}
		found = s.path.String()
		return false
	}
	s.value()
	return found
}

// hasField tells whether the type that p leads to takes a member of this name, as far as its fields show.
func hasField(t reflect.Type, p path, name string) bool {
	for _, s := range append(p[:len(p):len(p)], step{key: name, index: -1}) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			field, ok := fieldNamed(t, s.key)
			if !ok {
				return false
			}
			t = field
		default:
			return true
		}
	}
	return true
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
// path leading to it: for a literal with its end, for an object or array with its first byte's end, before its members.
type scanner struct {
	text  []byte
	pos   int
	path  path
	visit func(end int) (more bool)
}

func (s *scanner) value() (more bool) {
	switch s.peek() {
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
	return s.visit(s.pos)
}

// list walks over the members of an object or array.
func (s *scanner) list(end byte, member func(i int) bool) (more bool) {
	s.pos++
	if !s.visit(s.pos) {
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
