package apierror

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/seawall-go/seawall/internal/plain"
)

// The bounds of an error on the wire and in a log line, in bytes unless noted. Longer texts
// are cut at a rune.
const (
	maxMessage  = 4096
	maxTitle    = 512
	maxURL      = 2048
	maxParam    = 256
	maxCode     = 64
	maxFields   = 100      // entries
	maxMetadata = 50       // entries
	maxBody     = 60 << 10 // fields and metadata beyond it are left out, so Parse can read the rest
)

// MarshalJSON returns the public part of the error: the object in the "error" member of a
// response, for responses that hold several errors. It has no request_id before the error
// is sent. It implements [json.Marshaler].
func (e *Error) MarshalJSON() ([]byte, error) {
	c := *e.copy()
	defaults.fill(&c)
	return appendObject(nil, &c), nil
}

// The functions below append to a buffer, without reflection, because each request that fails
// writes an error.

// appendEnvelope appends {"error":{…}}.
func appendEnvelope(b []byte, e *Error) []byte {
	b = append(b, `{"error":`...)
	b = appendObject(b, e)
	return append(b, "}\n"...)
}

// appendObject appends the error object. The error must be complete.
func appendObject(b []byte, e *Error) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, string(e.typ), maxCode)
	b = appendMember(b, "code", string(e.code), maxCode)
	b = appendMember(b, "message", e.message, maxMessage)
	b = appendMembers(b, e)
	return append(b, '}')
}

// appendMembers appends the members that the error object and RFC 9457's problem details
// have in common.
func appendMembers(b []byte, e *Error) []byte {
	if e.param != "" {
		b = appendMember(b, "param", e.param, maxParam)
	}
	if e.requestID != "" {
		b = appendMember(b, "request_id", e.requestID, maxParam)
	}
	d := e.details()
	if d.docURL != "" {
		b = appendMember(b, "doc_url", d.docURL, maxURL)
	}
	if len(d.fields) > 0 {
		b = appendFields(b, d.fields)
	}
	if len(d.metadata) > 0 {
		b = appendMetadata(b, d.metadata)
	}
	return b
}

func appendFields(b []byte, fields []Field) []byte {
	b = append(b, `,"errors":[`...)
	for i, f := range fields[:min(len(fields), maxFields)] {
		before := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"code":`...)
		b = appendString(b, string(f.Code), maxCode)
		b = appendMember(b, "param", f.Param, maxParam)
		b = appendMember(b, "message", f.Message, maxMessage)
		b = append(b, '}')
		if len(b) > maxBody {
			b = b[:before]
			break
		}
	}
	return append(b, ']')
}

func appendMetadata(b []byte, metadata map[string]string) []byte {
	b = append(b, `,"metadata":{`...)
	keys := slices.Sorted(maps.Keys(metadata))
	for i, k := range keys[:min(len(keys), maxMetadata)] {
		before := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k, maxParam)
		b = append(b, ':')
		b = appendString(b, metadata[k], maxMessage)
		if len(b) > maxBody {
			b = b[:before]
			break
		}
	}
	return append(b, '}')
}

// appendMember appends a member whose name needs no escapes, after another one.
func appendMember(b []byte, name, value string, limit int) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendString(b, value, limit)
}

// appendString appends at most limit bytes of s as a JSON string. Invalid UTF-8 becomes U+FFFD,
// and what could end a script element or a JavaScript string (< > & U+2028 U+2029) is escaped, so
// the body is safe wherever it is pasted.
func appendString(b []byte, s string, limit int) []byte {
	s = truncate(s, limit)
	if isVerbatim(s) { // nearly always
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	text, _ := json.Marshal(s)
	return append(b, escapeDelete(text)...)
}

// isVerbatim reports whether nothing in s needs an escape.
func isVerbatim(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// escapeDelete escapes the one control character that encoding/json does not.
func escapeDelete(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte{0x7f}, []byte(`\u007f`))
}

// truncate cuts s to at most limit bytes, at a rune, and marks the cut with an ellipsis.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	cut := max(limit-len(mark), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) && limit-cut < 2*utf8.UTFMax {
		cut--
	}
	return s[:cut] + mark
}

// oneLine returns s as one line of at most limit bytes, for logs and error texts.
func oneLine(s string, limit int) string { return truncate(plain.Text(s, limit), limit) }
