package idempotent

import (
	"errors"
	"strings"
)

const maxKey = 255

var (
	errKeyLines  = errors.New("must be sent once")
	errKeyEmpty  = errors.New("must not be empty")
	errKeyLong   = errors.New("must be at most 255 characters")
	errKeyChars  = errors.New("must be visible ASCII characters")
	errKeyQuotes = errors.New("is not a well-formed quoted string")
)

// parseKey parses the lines of the Idempotency-Key field. A value that begins with a quote is
// a String without parameters (RFC 8941, section 3.3.3;
// draft-ietf-httpapi-idempotency-key-header-07, section 2.1). Any other value is taken as it
// is, so that "abc" and abc are the same key. The errors complete the sentence
// "Idempotency-Key ..." and never contain the value.
func parseKey(lines []string) (string, error) {
	if len(lines) != 1 {
		return "", errKeyLines
	}
	key := strings.Trim(lines[0], " \t")
	if strings.HasPrefix(key, `"`) {
		p := fieldParser{key}
		var ok bool
		if key, ok = p.string(); !ok || p.rest != "" {
			return "", errKeyQuotes
		}
	}
	switch {
	case key == "":
		return "", errKeyEmpty
	case len(key) > maxKey:
		return "", errKeyLong
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return "", errKeyChars
		}
	}
	return key, nil
}
