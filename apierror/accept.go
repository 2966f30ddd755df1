package apierror

import (
	"iter"
	"strconv"
	"strings"
)

// prefersProblem reports whether an Accept header (RFC 9110, section 12.5.1) prefers
// application/problem+json to application/json. The client must name
// application/problem+json: a wildcard does not count. At equal quality, a client that
// names both types gets application/json. A client that accepts application/json only by a
// wildcard gets application/problem+json.
func prefersProblem(accept []string) bool {
	if len(accept) == 0 {
		return false
	}
	problem, named, wild := -1.0, -1.0, -1.0
	for _, line := range accept {
		for element := range elements(line, ',') {
			mediaType, q, ok := quality(element)
			if !ok {
				continue
			}
			switch {
			case strings.EqualFold(mediaType, "application/problem+json"):
				problem = max(problem, q)
			case strings.EqualFold(mediaType, "application/json"):
				named = max(named, q)
			case mediaType == "*/*", strings.EqualFold(mediaType, "application/*"):
				wild = max(wild, q)
			}
		}
	}
	if named >= 0 {
		return problem > named
	}
	return problem > 0 && problem >= wild
}

// quality splits one element of an Accept header. ok is false if its q is not a number from
// 0 to 1.
func quality(element string) (mediaType string, q float64, ok bool) {
	q = 1
	first := true
	for part := range elements(element, ';') {
		if first {
			mediaType, first = part, false
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		value = strings.TrimSpace(value)
		if value == "" || strings.Trim(value, "0123456789.") != "" { // no 1e-1, no NaN, no hexadecimal
			return "", 0, false
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n > 1 {
			return "", 0, false
		}
		q = n
	}
	return mediaType, q, true
}

// elements iterates over the trimmed parts of a header's list. A separator within a quoted string
// does not count.
func elements(s string, separator byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '"':
				quoted = !quoted
			case quoted && s[i] == '\\':
				i++
			case s[i] == separator && !quoted:
				if !yield(strings.TrimSpace(s[start:i])) {
					return
				}
				start = i + 1
			}
		}
		yield(strings.TrimSpace(s[start:]))
	}
}
