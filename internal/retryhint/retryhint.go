// Package retryhint reads and writes what a response says about retries: its status, and the
// fields X-Should-Retry, Retry-After and Retry-After-Ms.
package retryhint

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retryable reports whether a status allows a retry: 429, and 500 to 599 except 501, which is
// permanent.
func Retryable(status int) bool {
	return status == http.StatusTooManyRequests ||
		status >= 500 && status <= 599 && status != http.StatusNotImplemented
}

// Refused reports whether any X-Should-Retry value is false. A proxy may have joined
// several values into one line (RFC 9110, section 5.3). No X-Should-Retry value, not even
// true, makes a response retryable.
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

// After returns how long after now the response asks to wait. ok is false if the response
// does not ask, or if its fields are not valid. Retry-After (RFC 9110, section 10.2.3) may
// hold whole seconds or any of the three HTTP dates. If there are several values, including
// ones that a proxy has joined into one line, the longest wait counts, because a retry that
// comes too early costs the server more.
//
// Retry-After-Ms, in whole milliseconds, refines the last second of Retry-After: a server
// whose real wait is 10 ms can only say 1 second there. Without a Retry-After it counts
// alone.
//
// A wait is never negative and never rounded down. A number that overflows a time.Duration
// becomes the largest one.
func After(h http.Header, now time.Time) (d time.Duration, ok bool) {
	d, ok = longest(h["Retry-After"], func(line string) (time.Duration, bool) { return wait(line, now) })
	ms, refined := longest(h["Retry-After-Ms"], func(line string) (time.Duration, bool) {
		return numbers(line, time.Millisecond)
	})
	if refined && (!ok || ms > 0 && ms <= d && d-ms < time.Second) {
		return ms, true
	}
	return d, ok
}

// longest returns the longest wait of the valid lines.
func longest(lines []string, wait func(string) (time.Duration, bool)) (d time.Duration, ok bool) {
	for _, line := range lines {
		if w, valid := wait(strings.TrimSpace(line)); valid {
			d, ok = max(d, w), true
		}
	}
	return d, ok
}

// wait parses one line of Retry-After.
func wait(line string, now time.Time) (time.Duration, bool) {
	if d, ok := numbers(line, time.Second); ok {
		return d, true
	}
	at, err := http.ParseTime(line)
	return max(at.Sub(now), 0), err == nil
}

// numbers returns the largest number of units in a line, in which a proxy may have joined several.
func numbers(line string, unit time.Duration) (d time.Duration, ok bool) {
	for part := range strings.SplitSeq(line, ",") {
		n, ok := number(strings.TrimSpace(part), unit)
		if !ok {
			return 0, false
		}
		d = max(d, n)
	}
	return d, true
}

// number parses digits as a number of units. It does not overflow.
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

// FormatAfter returns the Retry-After value for a wait: whole seconds, rounded up, at least 1.
func FormatAfter(d time.Duration) string {
	return strconv.FormatInt(int64((max(d, 1)-1)/time.Second)+1, 10)
}
