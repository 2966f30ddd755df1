package ratelimit

import (
	"math/bits"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/track"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-11, in the form that http.Header has them.
const (
	policyField = "Ratelimit-Policy"
	stateField  = "Ratelimit"
)

// quote returns a String of RFC 9651, section 3.3.3.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// appendPolicy appends an item of RateLimit-Policy: the quota of a window. A window that is not of
// whole seconds is made one, and the quota with it.
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

// appendState appends an item of RateLimit: what remains, and the whole seconds, at least one,
// until there is more.
func appendState(b []byte, quoted string, d *Decision) []byte {
	b = append(b, quoted...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	b = append(b, ";t="...)
	return strconv.AppendInt(b, max(int64(ceilSecond(d.RefillAfter)/time.Second), 1), 10)
}

// setFields sets both fields, after what an outer middleware has set: they are lists.
func (s *session) setFields(w http.ResponseWriter) {
	h := w.Header()
	track.SetField(w, policyField, s.value(s.policies(h[policyField])))
	track.SetField(w, stateField, s.value(s.states(h[stateField])))
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

// value returns v as the values of a header. The slices of several requests share one array, which
// spares each an allocation.
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

// setLegacy sets the older fields, which have room for one policy: the one that denies, or else the
// one that leaves the least, which may be one of an outer middleware. Limit is the larger one of
// quota and burst, so that it is never less than Remaining. Reset is in seconds from now.
func (s *session) setLegacy(w http.ResponseWriter, denial int) {
	h, i := w.Header(), denial
	if i < 0 {
		for k := range s.decisions {
			if i < 0 || tighter(legacyState(&s.decisions[k]), legacyState(&s.decisions[i])) {
				i = k
			}
		}
		remaining, err := strconv.ParseInt(h.Get(legacyRemaining), 10, 64)
		reset, err2 := strconv.ParseInt(h.Get(legacyReset), 10, 64)
		if err == nil && err2 == nil && !tighter(legacyState(&s.decisions[i]), [2]int64{remaining, reset}) {
			return
		}
	}
	l, state := s.charges[i].Limit, legacyState(&s.decisions[i])
	track.SetField(w, legacyLimit, []string{strconv.Itoa(max(l.Quota, l.burst()))})
	track.SetField(w, legacyRemaining, []string{strconv.FormatInt(state[0], 10)})
	track.SetField(w, legacyReset, []string{strconv.FormatInt(state[1], 10)})
}

// legacyState is what remains, and the whole seconds until the bucket is full.
func legacyState(d *Decision) [2]int64 {
	return [2]int64{int64(d.Remaining), int64(ceilSecond(d.ResetAfter) / time.Second)}
}

// tighter reports whether a leaves less than b, or as much for longer.
func tighter(a, b [2]int64) bool { return a[0] < b[0] || a[0] == b[0] && a[1] > b[1] }

// setRetryAfterMs sets the wait in milliseconds, within the last second of Retry-After, which says
// the same more coarsely.
func setRetryAfterMs(h http.Header, c *Charge, d *Decision) {
	wait := d.RetryAfter
	if d.RefillAfter > 0 {
		wait = min(wait, max(d.wait(c), wait-time.Second+1))
	}
	h["Retry-After-Ms"] = []string{strconv.FormatInt(int64((wait-1)/time.Millisecond)+1, 10)}
}
