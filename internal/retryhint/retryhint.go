// Package retryhint holds what a response says about retrying its request: by its status, by
// X-Should-Retry, by Retry-After and Retry-After-Ms.
package retryhint

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retryable reports whether a client of the specification retries a request that was answered with
// this status: 429 and 500 to 599, but not 501, which never heals. 600 and above are no statuses.
func Retryable(status int) bool {
	return status == http.StatusTooManyRequests ||
		status >= 500 && status <= 599 && status != http.StatusNotImplemented
}

// Refused reports whether any X-Should-Retry says false, on its own line or joined to others, as a
// proxy may do (RFC 9110, section 5.3). No value of it makes anything retryable.
func Refused(h http.Header) bool {
	for _, line := range h["X-Should-Retry"] {
		for v := range strings.SplitSeq(line, ",") {
			if strings.ToLower(strings.TrimSpace(v)) == "false" { // EqualFold would fold the long s too
				return true
			}
		}
	}
	return false
}

// After returns how long after now the response asks to wait, and whether it does so in a form that is
// understood: Retry-After (RFC 9110, section 10.2.3) with whole seconds or any of the three HTTP dates.
// Of several lines, also of lines with seconds that a proxy has joined, the longest counts: an early retry
// is what costs the server. "-1" and "1.5" are not understood.
//
// Retry-After-Ms, in whole milliseconds, refines Retry-After within its last second: a server whose true
// wait is 10 ms can only say 1 s there. Alone, it counts as it is.
//
// A wait is never negative and never rounded down. A date carries no fraction of a second, so the wait ends
// with its full second. A number too large for a time.Duration is the largest one.
func After(h http.Header, now time.Time) (time.Duration, bool) {
	after, ok := longest(h["Retry-After"], func(line string) (time.Duration, bool) { return wait(line, now) })
	ms, refined := longest(h["Retry-After-Ms"], func(line string) (time.Duration, bool) {
		return number(line, time.Millisecond)
	})
	if refined && (!ok || ms > 0 && ms <= after && after-ms < time.Second) {
		return ms, true
	}
	return after, ok
}

// longest returns the longest wait of the lines that are understood.
func longest(lines []string, wait func(string) (time.Duration, bool)) (d time.Duration, ok bool) {
	for _, line := range lines {
		if w, understood := wait(strings.TrimSpace(line)); understood {
			d, ok = max(d, w), true
		}
	}
	return d, ok
}

// wait reads one line of Retry-After.
func wait(line string, now time.Time) (time.Duration, bool) {
	if at, err := http.ParseTime(line); err == nil {
		return max(at.Sub(now), 0), true
	}
	var d time.Duration
	for part := range strings.SplitSeq(line, ",") {
		n, ok := number(strings.TrimSpace(part), time.Second)
		if !ok {
			return 0, false
		}
		d = max(d, n)
	}
	return d, true
}

// number reads 1*DIGIT of a unit. Forty digits are a long wait, not an overflow.
func number(s string, unit time.Duration) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), math.MaxInt64/int64(unit))
	}
	return time.Duration(n) * unit, true
}

// FormatAfter returns a wait as the whole seconds of Retry-After: rounded up, and at least 1.
func FormatAfter(d time.Duration) string {
	return strconv.FormatInt(int64((max(d, 1)-1)/time.Second)+1, 10)
}
