package apierror

import (
	"strconv"
	"strings"
)

// path leads to a value within a JSON text.
type path []step

type step struct {
	key   []byte
	index int // -1 for a member
}

// String returns the path as a client writes it: items[1].price.
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
				b.WriteString(`""`) // otherwise it would not be visible
			}
			b.Write(s.key)
		}
		if b.Len() > maxParam {
			break
		}
	}
	return truncate(b.String(), maxParam)
}

// endsIn reports whether a member on the path has the last name of field. field is
// encoding/json's list of the fields that it went through: without indices and keys of
// maps, and with the Go names of embedded structs.
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

// pathAt returns the path of the value in a JSON text at which encoding/json stopped. The offset
// is the end of a literal, the first byte within an object or array, or the first byte within a
// key that a map does not take.
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

// name skips the name of a member, if there is one, and puts it into the last step of at.
// It reports whether offset is the first byte within the name.
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
