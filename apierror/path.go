package apierror

import (
	"iter"
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
			if s.key == "" {
				b.WriteString(`""`) // else it would not be seen
			}
			b.WriteString(s.key)
		}
		if b.Len() > maxParam {
			break
		}
	}
	return truncate(b.String(), maxParam)
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

// pathAt returns the path of the value at which encoding/json stopped, and where that value begins. The offset is the end of a
// literal, the first byte within an object or array, or the first byte within a key that a map does not take.
func pathAt(text []byte, offset int) (at path, start int, found bool) {
	s := scanner{text: text}
	hit := func(from, end int) (more bool) {
		if end == offset {
			at, start, found = append(at, s.path...), from, true
		}
		return end < offset
	}
	s.visit = hit
	s.visitKey = func(from int) (more bool) { return hit(from, from+1) }
	s.value()
	return at, start, found
}

// scanner walks over a text that encoding/json has found to begin with a valid value. visit is called for each value, with
// path leading to it and where it stands in the text: an object or array with its first byte, before its members. visitKey,
// which may be nil, is called for each key with path leading to its value.
type scanner struct {
	text     []byte
	pos      int
	path     path
	visit    func(start, end int) (more bool)
	visitKey func(start int) (more bool)
}

func (s *scanner) value() (more bool) {
	first := s.peek()
	start := s.pos
	switch first {
	case '{':
		return s.list('}', s.member)
	case '[':
		return s.list(']', s.element)
	case '"':
		s.skipString()
	default:
		s.skipLiteral()
	}
	return s.visit(start, s.pos)
}

// list walks over the members of an object or the elements of an array.
func (s *scanner) list(end byte, item func(i int) bool) (more bool) {
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
		if !item(i) {
			return false
		}
	}
}

func (s *scanner) element(i int) (more bool) {
	s.path = append(s.path, step{index: i})
	more = s.value()
	s.path = s.path[:len(s.path)-1]
	return more
}

func (s *scanner) member(int) (more bool) {
	start := s.pos
	s.skipString()
	s.path = append(s.path, step{key: stringOf(s.text[start:s.pos]), index: -1})
	s.peek()
	s.pos++ // the colon
	more = (s.visitKey == nil || s.visitKey(start)) && s.value()
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

func (s *scanner) skipLiteral() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n,]}", s.text[s.pos]) < 0 {
		s.pos++
	}
}

// skip passes over a value with all that is in it, and returns its text.
func (s *scanner) skip() []byte {
	s.peek()
	start, depth := s.pos, 0
	for {
		switch s.peek() {
		case 0:
			return s.text[start:s.pos]
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			depth--
			s.pos++
		case ',', ':':
			s.pos++
		case '"':
			s.skipString()
		default:
			s.skipLiteral()
		}
		if depth == 0 {
			return s.text[start:s.pos]
		}
	}
}

// children iterates over the members of an object, if open is '{', or over the elements of an array, if it is '[': the key, as it
// is spelled in the text, and the value. Anything else has none. encoding/json must have found the text valid.
func children(text []byte, open byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		s := scanner{text: text}
		if s.peek() != open {
			return
		}
		for more := true; more; more = s.peek() == ',' {
			s.pos++
			if c := s.peek(); c == '}' || c == ']' { // it is empty
				return
			}
			var key []byte
			if open == '{' {
				key = s.skip()
				s.peek()
				s.pos++ // the colon
			}
			if !yield(key, s.skip()) {
				return
			}
		}
	}
}
