package idempotent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/seawall-go/seawall/internal/mediatype"
)

// FingerprintJSON is a [FingerprintFunc] for JSON. Two requests are the same if their bodies
// differ only in white space and in the order of an object's members. Strings and numbers are
// compared as they are written: 1 and 1.0 differ.
//
// A body is compared byte for byte if it is not valid JSON, or if its media type is not
// application/json and does not end in +json. So is a body that parsers can read differently:
// one with an escape in a name, or with two names in one object that are equal or differ only
// in case.
func FingerprintJSON(r *http.Request, body func() ([]byte, error)) (Fingerprint, error) {
	b, err := body()
	if err != nil {
		return Fingerprint{}, err
	}
	if mediatype.IsJSON(mediaType(r.Header)) {
		if c, ok := canonicalJSON(b); ok {
			return fingerprintOf(r, "json", c), nil
		}
	}
	return FingerprintOf(r, b), nil
}

// canonicalJSON returns the same bytes for all spellings of a document, and different bytes
// for different documents. It replaces each object by the hash of its sorted members, so that
// the work is linear for any depth. It reports false if b is not JSON or is ambiguous.
func canonicalJSON(b []byte) ([]byte, bool) {
	var compact bytes.Buffer
	if json.Compact(&compact, b) != nil {
		return nil, false
	}
	c := canonicalizer{in: compact.Bytes()}
	out := c.value(nil)
	return out, !c.ambiguous
}

// canonicalizer reads valid, compact JSON.
type canonicalizer struct {
	in []byte
	// ambiguous is set if some parsers treat two names as equal and others do not. The
	// meaning of such members can depend on their order.
	ambiguous bool
}

// value reads the next value and appends its canonical form to out.
func (c *canonicalizer) value(out []byte) []byte {
	switch c.in[0] {
	case '{':
		c.in = c.in[1:]
		sum := c.members()
		return append(append(out, '{'), sum[:]...)
	case '[':
		out = append(out, '[')
		c.in = c.in[1:]
		for !c.skip(']') {
			out = append(c.value(out), ',')
			c.skip(',')
		}
		return append(out, ']')
	case '"':
		return append(out, c.string()...)
	default: // a number, true, false, null
		n := bytes.IndexAny(c.in, ",]}")
		if n < 0 {
			n = len(c.in)
		}
		out = append(out, c.in[:n]...)
		c.in = c.in[n:]
		return out
	}
}

// members reads the rest of an object and returns the hash of its members.
func (c *canonicalizer) members() [32]byte {
	type member struct {
		folded      string
		name, value []byte
	}
	var members []member
	for !c.skip('}') {
		name := c.string()
		c.skip(':')
		members = append(members, member{foldName(name), name, c.value(nil)})
		c.skip(',')
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.folded, b.folded) })
	parts := make([]string, 0, 2*len(members))
	for i, m := range members {
		if bytes.IndexByte(m.name, '\\') >= 0 || i > 0 && members[i-1].folded == m.folded {
			c.ambiguous = true
		}
		parts = append(parts, string(m.name), string(m.value))
	}
	return hashOf(nil, parts...)
}

// foldName returns the same text for all names from which encoding/json may set the same
// struct field: it ignores case and replaces invalid UTF-8.
func foldName(name []byte) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next // the smallest rune of those that fold to each other
			}
			r = next
		}
	}, string(name))
}

// skip reads one character if it is the next one, and reports whether it was.
func (c *canonicalizer) skip(char byte) bool {
	if c.in[0] != char {
		return false
	}
	c.in = c.in[1:]
	return true
}

// string reads a string with its quotes.
func (c *canonicalizer) string() []byte {
	for i := 1; ; i++ {
		switch c.in[i] {
		case '\\':
			i++
		case '"':
			s := c.in[:i+1]
			c.in = c.in[i+1:]
			return s
		}
	}
}
