// Package retryhint holds what a response says about repeating its request: by its status, by X-Should-Retry, by Retry-After.
package retryhint

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retryable tells whether a client of the specification repeats a request that was answered with this status: 429 and 5xx, but
// not 501, which never heals.
func Retryable(status int) bool {
	return status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented
}

// Refused tells whether any X-Should-Retry says false, be it on a line of its own or joined to others, as a proxy may do (RFC 9110,
// section 5.3). No value of it makes anything retryable.
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

// After returns how long after now Retry-After (RFC 9110, section 10.2.3) asks to wait, and whether it says so in a form that can be
// understood: one line with whole seconds, or with any of the three HTTP dates. A wait is never negative and never rounded down: a
// date carries no fraction of a second, so it counts from now to its full second. A number too large for a time.Duration is the
// largest one; "-1", "1.5" and two different lines are not understood.
func After(h http.Header, now time.Time) (time.Duration, bool) {
	lines := h["Retry-After"]
	if len(lines) == 0 {
		return 0, false
	}
	value := strings.TrimSpace(lines[0])
	for _, other := range lines[1:] {
		if strings.TrimSpace(other) != value {
			return 0, false
		}
	}
	return Wait(value, now)
}

// Wait is After for one line.
func Wait(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if d, ok := seconds(value); ok {
		return d, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}

// seconds reads 1*DIGIT. Forty digits are a long wait, not an overflow.
func seconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), math.MaxInt64/int64(time.Second))
	}
	return time.Duration(n) * time.Second, true
}

// FormatAfter returns a wait as the whole seconds of Retry-After: rounded up, and at least 1.
func FormatAfter(d time.Duration) string {
	return strconv.FormatInt(int64((max(d, 1)-1)/time.Second)+1, 10)
}
