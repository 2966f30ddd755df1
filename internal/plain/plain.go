// Package plain makes strings from outside safe for a log line, an event or a report.
package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s as one line. The parameter most is the largest length of the result, in
// bytes. White space and control characters become spaces. Format characters, such as those
// that change the direction of writing, are removed. Invalid UTF-8 becomes U+FFFD. A text
// that was cut ends in an ellipsis, which does not count.
func Text(s string, most int) string {
	if len(s) <= most && isPlain(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case i > 4*most: // so that a long run of format characters is not read to its end
			return b.String() + "…"
		case unicode.IsSpace(r), unicode.IsControl(r):
			r = ' '
		case unicode.Is(unicode.Cf, r):
			continue
		}
		if b.Len()+utf8.RuneLen(r) > most {
			return b.String() + "…"
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isPlain reports whether s is printable ASCII, as nearly all strings are.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
