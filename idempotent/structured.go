package idempotent

import (
	"encoding/base64"
	"strings"
)

// fieldParser parses a structured field (RFC 8941, section 4.2). Its methods read from the
// front of rest.
type fieldParser struct{ rest string }

// parseDictionary calls member for each member of a Dictionary in order. The value is the
// bytes of a Byte Sequence, and nil for any other type. It reports whether the field is
// well-formed.
func parseDictionary(field string, member func(key string, value []byte)) bool {
	p := fieldParser{strings.Trim(field, " ")}
	if p.rest == "" {
		return true
	}
	for {
		key, ok := p.key()
		var value []byte
		if ok && p.skip('=') {
			value, ok = p.memberValue()
		}
		if !ok || !p.parameters() {
			return false
		}
		member(key, value)
		if p.rest = strings.TrimLeft(p.rest, " \t"); p.rest == "" {
			return true
		}
		if !p.skip(',') {
			return false
		}
		p.rest = strings.TrimLeft(p.rest, " \t")
	}
}

// memberValue reads an Inner List or a bare Item. It returns the bytes of a Byte Sequence,
// and nil for any other type.
func (p *fieldParser) memberValue() (value []byte, ok bool) {
	if !p.skip('(') {
		return p.bareItem()
	}
	for separated := true; ; {
		separated = p.spaces() || separated
		if p.skip(')') {
			return nil, true
		}
		if _, ok := p.bareItem(); !separated || !ok || !p.parameters() {
			return nil, false
		}
		separated = false
	}
}

// parameters reads the parameters of an Item or an Inner List.
func (p *fieldParser) parameters() bool {
	for p.skip(';') {
		p.spaces()
		if _, ok := p.key(); !ok {
			return false
		}
		if p.skip('=') {
			if _, ok := p.bareItem(); !ok {
				return false
			}
		}
	}
	return true
}

// key reads the name of a member or of a parameter.
func (p *fieldParser) key() (key string, ok bool) {
	if p.rest == "" || !isLower(p.rest[0]) && p.rest[0] != '*' {
		return "", false
	}
	return p.span(func(c byte) bool {
		return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
	}), true
}

// bareItem reads an Item without its parameters. It returns the bytes of a Byte Sequence, and
// nil for any other type.
func (p *fieldParser) bareItem() (value []byte, ok bool) {
	if p.rest == "" {
		return nil, false
	}
	switch c := p.rest[0]; {
	case c == ':':
		return p.bytes()
	case c == '"':
		_, ok := p.string()
		return nil, ok
	case c == '?':
		p.skip('?')
		return nil, p.skip('0') || p.skip('1')
	case c == '-' || isDigit(c):
		return nil, p.number()
	case c == '*' || isLetter(c):
		p.span(isTokenChar)
		return nil, true
	}
	return nil, false
}

// bytes reads a Byte Sequence. The caller has seen its opening colon. The padding may be
// missing, as the RFC recommends.
func (p *fieldParser) bytes() (value []byte, ok bool) {
	p.skip(':')
	text := p.span(func(c byte) bool {
		return isLetter(c) || isDigit(c) || c == '+' || c == '/' || c == '='
	})
	if !p.skip(':') {
		return nil, false
	}
	encoding := base64.StdEncoding
	if len(text)%4 != 0 {
		encoding = base64.RawStdEncoding
	}
	value, err := encoding.DecodeString(text)
	return value, err == nil
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

// string reads a String. The caller has seen its opening quote.
func (p *fieldParser) string() (s string, ok bool) {
	p.skip('"')
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			s, p.rest = p.rest[:i], p.rest[i+1:]
			return unescape.Replace(s), true
		case c == '\\':
			i++
			if i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return "", false
			}
		case c < ' ' || c > '~':
			return "", false
		}
	}
	return "", false
}

// number reads an Integer or a Decimal.
func (p *fieldParser) number() bool {
	p.skip('-')
	whole := len(p.span(isDigit))
	if !p.skip('.') {
		return whole >= 1 && whole <= 15
	}
	fraction := len(p.span(isDigit))
	return whole >= 1 && whole <= 12 && fraction >= 1 && fraction <= 3
}

// skip reads one character if it is the next one, and reports whether it was.
func (p *fieldParser) skip(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// spaces reads spaces, and reports whether there were any.
func (p *fieldParser) spaces() bool {
	return p.span(func(c byte) bool { return c == ' ' }) != ""
}

// span reads characters up to the first one for which the function reports false.
func (p *fieldParser) span(is func(c byte) bool) string {
	n := 0
	for n < len(p.rest) && is(p.rest[n]) {
		n++
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isLower(c) || 'A' <= c && c <= 'Z' }

func isTokenChar(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
}
