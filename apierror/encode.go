package apierror

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seawall-go/seawall/internal/plain"
)

// What an error may hold on the wire and in a log line, in bytes. Longer texts are cut at a rune.
const (
	maxMessage  = 4096
	maxTitle    = 512
	maxURL      = 2048
	maxParam    = 256
	maxCode     = 64
	maxFields   = 100      // entries
	maxMetadata = 50       // entries
	maxBody     = 60 << 10 // fields and metadata beyond it are left out, so that Parse can read the rest
)

// appendEnvelope appends {"error":{…}}.
func appendEnvelope(b []byte, e *Error) []byte {
	b = append(b, `{"error":`...)
	b = appendObject(b, e)
	return append(b, "}\n"...)
}

// appendObject appends the object in the envelope, of an error in which nothing is left open.
func appendObject(b []byte, e *Error) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, e.typ...) // one of the six
	b = append(b, `","code":`...)
	b = appendString(b, string(e.code), maxCode)
	b = append(b, `,"message":`...)
	b = appendString(b, e.message, maxMessage)
	b = appendMembers(b, e)
	return append(b, '}')
}

// appendMembers appends what the envelope and RFC 9457's form have in common.
func appendMembers(b []byte, e *Error) []byte {
	if e.param != "" {
		b = append(b, `,"param":`...)
		b = appendString(b, e.param, maxParam)
	}
	if e.requestID != "" {
		b = append(b, `,"request_id":`...)
		b = appendString(b, e.requestID, maxParam)
	}
	d := e.details()
	if d.docURL != "" {
		b = append(b, `,"doc_url":`...)
		b = appendString(b, d.docURL, maxURL)
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
		b = append(b, `,"param":`...)
		b = appendString(b, f.Param, maxParam)
		b = append(b, `,"message":`...)
		b = appendString(b, f.Message, maxMessage)
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

const hex = "0123456789abcdef"

// verbatim are the bytes that appendString writes as they are.
var verbatim = func() (ok [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		ok[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return ok
}()

// appendString appends s as a JSON string of at most limit bytes of s. Invalid UTF-8 becomes
// U+FFFD, and what could end a script element or a JavaScript string (< > & U+2028 U+2029) is
// escaped, so that the body is safe wherever it is pasted.
func appendString(b []byte, s string, limit int) []byte {
	s = truncate(s, limit)
	b = append(b, '"')
	start, i := 0, 0
	for {
		for i < len(s) && verbatim[s[i]] {
			i++
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[start:i]...)
			b = append(b, `\ufffd`...)
		case r == '\u2028', r == '\u2029':
			b = append(b, s[start:i]...)
			b = append(b, `\u202`...)
			b = append(b, hex[r&15])
		default:
			i += size
			continue
		}
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// truncate cuts s to at most limit bytes, at a rune, and marks the cut.
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

// oneLine is plain.Text with the mark of a cut inside of the limit.
func oneLine(s string, limit int) string { return truncate(plain.Text(s, limit), limit) }
