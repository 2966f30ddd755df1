package apierror

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// path leads to a value within a JSON text.
type path []step

type step struct {
	key   []byte
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
			if len(s.key) == 0 {
				b.WriteString(`""`) // else it would not be seen
			}
			b.Write(s.key)
		}
		if b.Len() > maxParam {
			break
		}
	}
	return truncate(b.String(), maxParam)
}

// endsIn reports whether a member on the path has the last name of field, which is encoding/json's list of the fields that
// it went through: without indices and the keys of maps, and with the Go names of embedded structs.
func (p path) endsIn(field string) bool {
	for _, s := range p {
		if s.index < 0 && len(field) >= len(s.key) && strings.EqualFold(field[len(field)-len(s.key):], string(s.key)) {
			if before := field[:len(field)-len(s.key)]; before == "" || strings.HasSuffix(before, ".") {
				return true
			}
		}
	}
	return field == ""
}

// pathAt returns the path of the value in a JSON text at which encoding/json stopped. The offset is the end of a literal, the
// first byte within an object or array, or the first byte within a key that a map does not take.
func pathAt(text []byte, offset int) (at path, found bool) {
	s := scanner{text: text}
	for s.pos < offset {
		switch c := s.peek(); c {
		case '{', '[':
			s.pos++
			at = append(at, step{index: -1})
			if found = s.pos == offset; found {
				return at[:len(at)-1], true
			}
			if c == '[' {
				at[len(at)-1].index = 0
			} else {
				found = s.name(at, offset)
			}
		case ',':
			s.pos++
			if last := &at[len(at)-1]; last.index >= 0 {
				last.index++
			} else {
				found = s.name(at, offset)
			}
		case '}', ']':
			s.pos++
			at = at[:len(at)-1]
		default:
			s.skipLiteral(c)
			found = s.pos == offset
		}
		if found {
			return at, true
		}
	}
	return nil, false
}

// name passes over the name of a member, if there is one, into the last step of at. It reports whether offset is in the name.
func (s *scanner) name(at path, offset int) bool {
	if s.peek() != '"' {
		return false
	}
	start := s.pos
	s.skipString()
	at[len(at)-1].key = unescaped(s.text[start:s.pos])
	s.peek()
	s.pos++ // the colon
	return start+1 == offset
}

// scanner walks over a text that encoding/json has found to begin with a valid value.
type scanner struct {
	text []byte
	pos  int
}

// next goes to the next member of an object or element of an array, whose last byte is end. It returns false behind the last.
func (s *scanner) next(end byte) bool {
	switch s.peek() {
	case end:
		s.pos++
		return false
	case ',':
		s.pos++
		s.peek()
	}
	return s.pos < len(s.text)
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

// skipLiteral passes over a string, a number, or one of the three words.
func (s *scanner) skipLiteral(first byte) {
	if first == '"' {
		s.skipString()
		return
	}
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n,]}", s.text[s.pos]) < 0 {
		s.pos++
	}
}

// skip passes over a value with all that is in it, and returns its text.
func (s *scanner) skip() []byte {
	s.peek()
	start, depth := s.pos, 0
	for {
		switch c := s.peek(); c {
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
		default:
			s.skipLiteral(c)
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

// textOf returns the value of a JSON string. It is empty for any other value.
func textOf(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(unescaped(value))
}

// unescaped returns the value of a JSON string, which is usually a part of literal.
func unescaped(literal []byte) []byte {
	if text := literal[1 : len(literal)-1]; bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return text
	}
	var s string
	if json.Unmarshal(literal, &s) != nil {
		return nil
	}
	return []byte(s)
}
