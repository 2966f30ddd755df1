package ratelimit

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-10, in the form that http.Header has them.
const (
	policyField = "Ratelimit-Policy"
	stateField  = "Ratelimit"
)

// maxInteger is the largest Integer of RFC 9651, section 3.3.1.
const maxInteger = 999_999_999_999_999

// quote returns a String of RFC 9651, section 3.3.3.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// appendPolicy appends an item of RateLimit-Policy: the quota of a window. A window that is not of whole seconds is made one, and the
// quota with it.
func appendPolicy(b []byte, quoted string, l Limit) []byte {
	window := max(ceilSecond(l.Window), time.Second)
	quota := float64(l.Quota) * (float64(window) / float64(l.Window))
	b = append(b, quoted...)
	b = append(b, ";q="...)
	b = strconv.AppendInt(b, int64(min(quota, maxInteger)), 10)
	b = append(b, ";w="...)
	return strconv.AppendInt(b, int64(window/time.Second), 10)
}

// appendState appends an item of RateLimit: what remains, and the whole seconds, at least one, until there is more.
func appendState(b []byte, quoted string, remaining int, seconds int64) []byte {
	b = append(b, quoted...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(remaining), 10)
	b = append(b, ";t="...)
	return strconv.AppendInt(b, seconds, 10)
}

// wholeSeconds is d in seconds, rounded up, at least 1.
func wholeSeconds(d time.Duration) int64 { return max(int64(ceilSecond(d)/time.Second), 1) }

// state is the rule's item in RateLimit.
func (c *rule) state(d *Decision) string {
	seconds := wholeSeconds(d.RefillAfter)
	if seconds == 1 && d.Remaining < len(c.states) {
		return c.states[d.Remaining]
	}
	var buffer [128]byte // on the stack
	return string(appendState(buffer[:0], c.quoted, d.Remaining, seconds))
}

// policyOf is the rule's item in RateLimit-Policy.
func (c *rule) policyOf(l Limit) string {
	if l == c.Limit {
		return c.policy
	}
	var buffer [128]byte
	return string(appendPolicy(buffer[:0], c.quoted, l))
}

// setFields sets both fields, after what an outer middleware has set: they are lists.
func (s *session) setFields(h http.Header) {
	values := make([]string, 2) // one array for both fields
	for i, c := range s.rules {
		d := &s.decisions[i]
		values[0] = listed(values[0], c.policyOf(d.Limit))
		values[1] = listed(values[1], c.state(d))
	}
	if outer := h[policyField]; len(outer) > 0 {
		values[0] = listed(strings.Join(outer, ", "), values[0])
	}
	if outer := h[stateField]; len(outer) > 0 {
		values[1] = listed(strings.Join(outer, ", "), values[1])
	}
	h[policyField], h[stateField] = values[:1:1], values[1:]
}

func listed(list, item string) string {
	if list == "" {
		return item
	}
	return list + ", " + item
}

// The older fields, which no standard defines.
const (
	legacyLimit     = "X-Ratelimit-Limit"
	legacyRemaining = "X-Ratelimit-Remaining"
	legacyReset     = "X-Ratelimit-Reset"
)

// setLegacy sets the older fields, which have room for one policy: the one that leaves the least. Reset is in seconds from now.
func (s *session) setLegacy(h http.Header) {
	for i := range s.decisions {
		d := &s.decisions[i]
		if before, err := strconv.Atoi(h.Get(legacyRemaining)); err == nil && before <= d.Remaining {
			continue
		}
		h.Set(legacyLimit, strconv.Itoa(d.Limit.Quota))
		h.Set(legacyRemaining, strconv.Itoa(d.Remaining))
		h.Set(legacyReset, strconv.FormatInt(int64(ceilSecond(d.ResetAfter)/time.Second), 10))
	}
}
