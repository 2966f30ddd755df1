package apierror

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
	"unicode/utf8"
)

// scanner reads a text that begins with a valid JSON value: encoding/json must have accepted it.
type scanner struct {
	text []byte
	pos  int
}

// next goes to the next member of an object or element of an array, whose last byte is end. It
// returns false after the last one.
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

// peek skips white space and returns the byte that follows. It is 0 at the end.
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

// skipLiteral skips a string, a number, or one of true, false and null.
func (s *scanner) skipLiteral(first byte) {
	if first == '"' {
		s.skipString()
		return
	}
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n,]}", s.text[s.pos]) < 0 {
		s.pos++
	}
}

// skip skips a value with all that is in it, and returns its text.
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

// children iterates over the members of an object if open is '{', or over the elements of an array
// if it is '[': the key as the text spells it, and the value. Any other text has none.
// encoding/json must have accepted the text.
func children(text []byte, open byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		s := scanner{text: text}
		if s.peek() != open {
			return
		}
		for more := true; more; more = s.peek() == ',' {
			s.pos++
			if c := s.peek(); c == '}' || c == ']' { // empty
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
