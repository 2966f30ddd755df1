package ratelimit

import (
	"math/bits"
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

// quote returns a String of RFC 9651, section 3.3.3.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// appendPolicy appends an item of RateLimit-Policy: the quota of a window. A window that is not of whole seconds is made one, and the
// quota with it.
func appendPolicy(b []byte, quoted string, l Limit) []byte {
	window := ceilSecond(l.Window)
	hi, lo := bits.Mul64(uint64(l.Quota), uint64(window))
	quota, _ := bits.Div64(hi, lo, uint64(l.Window)) // fits: there is no more than a unit a nanosecond
	b = append(b, quoted...)
	b = append(b, ";q="...)
	b = strconv.AppendUint(b, quota, 10)
	b = append(b, ";w="...)
	return strconv.AppendInt(b, int64(window/time.Second), 10)
}

// appendState appends an item of RateLimit: what remains, and the whole seconds, at least one, until there is more.
func appendState(b []byte, quoted string, d *Decision) []byte {
	b = append(b, quoted...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(d.remaining()), 10)
	b = append(b, ";t="...)
	return strconv.AppendInt(b, max(int64(ceilSecond(d.RefillAfter)/time.Second), 1), 10)
}

// remaining is Remaining in the range that it may have, whatever the limiter says.
func (d *Decision) remaining() int { return min(max(d.Remaining, 0), maxUnits) }

// setFields sets both fields, after what an outer middleware has set: they are lists.
func (s *session) setFields(h http.Header) {
	h[policyField] = s.value(s.policies(h[policyField]))
	h[stateField] = s.value(s.states(h[stateField]))
}

func (s *session) policies(outer []string) string {
	if c := s.rules[0]; len(s.rules) == 1 && len(outer) == 0 && s.charges[0].Limit == c.Limit {
		return c.policy // as nearly always
	}
	b := appendList(s.text[:0], outer)
	for i, c := range s.rules {
		b = appendPolicy(separate(b), c.quoted, s.charges[i].Limit)
	}
	s.text = b
	return string(b)
}

func (s *session) states(outer []string) string {
	b := appendList(s.text[:0], outer)
	for i, c := range s.rules {
		b = appendState(separate(b), c.quoted, &s.decisions[i])
	}
	s.text = b
	return string(b)
}

func appendList(b []byte, lines []string) []byte {
	for _, line := range lines {
		b = append(separate(b), line...)
	}
	return b
}

func separate(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return b
}

// value returns v as the values of a header. The slices of several requests share one array, which spares each an allocation.
func (s *session) value(v string) []string {
	if len(s.values) == 0 {
		s.values = make([]string, 32)
	}
	one := s.values[:1:1]
	s.values = s.values[1:]
	one[0] = v
	return one
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
		if before, err := strconv.Atoi(h.Get(legacyRemaining)); err == nil && before <= d.remaining() {
			continue
		}
		h.Set(legacyLimit, strconv.Itoa(s.charges[i].Limit.Quota))
		h.Set(legacyRemaining, strconv.Itoa(d.remaining()))
		h.Set(legacyReset, strconv.FormatInt(max(int64(ceilSecond(d.ResetAfter)/time.Second), 0), 10))
	}
}
