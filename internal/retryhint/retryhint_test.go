package retryhint_test

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/retryhint"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 250e6, time.UTC)

func TestAfter(t *testing.T) {
	t.Parallel()
	const longest = math.MaxInt64 / int64(time.Second) * int64(time.Second)
	for _, row := range []struct {
		name  string
		lines []string
		want  time.Duration
		ok    bool
	}{
		{"none", nil, 0, false},
		{"seconds", []string{"120"}, 2 * time.Minute, true},
		{"zero", []string{"0"}, 0, true},
		{"leading zeros", []string{"0005"}, 5 * time.Second, true},
		{"blanks", []string{" 5\t"}, 5 * time.Second, true},
		{"the same twice", []string{"5", " 5"}, 5 * time.Second, true},
		{"two lines, the first longer", []string{"300", "120"}, 5 * time.Minute, true},
		{"two lines, the second longer", []string{"120", "300"}, 5 * time.Minute, true},
		{"seconds and a date", []string{"5", "Mon, 23 Nov 2026 12:00:10 GMT"}, 9750 * time.Millisecond, true},
		{"junk and a valid line", []string{"soon", "5"}, 5 * time.Second, true},
		{"lines of seconds that were joined", []string{"120, 300,5"}, 5 * time.Minute, true},
		{"seconds and junk that were joined", []string{"5, soon"}, 0, false},
		{"joined to nothing", []string{"5,"}, 0, false},
		{"a million commas", []string{strings.Repeat(",", 1e6)}, 0, false},
		{"the longest", []string{"9223372036"}, time.Duration(longest), true},
		{"longer", []string{"9223372037"}, time.Duration(longest), true},
		{"forty digits", []string{strings.Repeat("9", 40)}, time.Duration(longest), true},
		{"a million digits", []string{strings.Repeat("1", 1e6)}, time.Duration(longest), true},
		{"IMF-fixdate", []string{"Mon, 23 Nov 2026 12:00:10 GMT"}, 9750 * time.Millisecond, true},
		{"RFC 850", []string{"Monday, 23-Nov-26 12:00:10 GMT"}, 9750 * time.Millisecond, true},
		{"asctime", []string{"Mon Nov 23 12:00:10 2026"}, 9750 * time.Millisecond, true},
		{"asctime, one digit", []string{"Tue Dec  1 12:00:00 2026"}, 8*24*time.Hour - 250*time.Millisecond, true},
		{"past", []string{"Mon, 23 Nov 2026 11:00:00 GMT"}, 0, true},
		{"long past", []string{"Mon, 01 Jan 0001 00:00:00 GMT"}, 0, true},
		{"far future", []string{"Fri, 31 Dec 9999 23:59:59 GMT"}, math.MaxInt64, true},
		{"empty", []string{""}, 0, false},
		{"negative", []string{"-1"}, 0, false},
		{"sign", []string{"+1"}, 0, false},
		{"fraction", []string{"1.5"}, 0, false},
		{"exponent", []string{"1e3"}, 0, false},
		{"hexadecimal", []string{"0x10"}, 0, false},
		{"underscore", []string{"1_000"}, 0, false},
		{"unit", []string{"5s"}, 0, false},
		{"other digits", []string{"５"}, 0, false},
		{"words", []string{"soon"}, 0, false},
		{"another time zone", []string{"Mon, 23 Nov 2026 12:00:10 CET"}, 0, false},
		{"ISO 8601", []string{"2026-11-23T12:00:10Z"}, 0, false},
	} {
		d, ok := retryhint.After(http.Header{"Retry-After": row.lines}, now)
		if d != row.want || ok != row.ok {
			t.Errorf("%s: %v, %v", row.name, d, ok)
		}
	}
	if _, ok := retryhint.After(nil, now); ok {
		t.Error("no header at all")
	}
}

func TestMillisecondsRefineTheLastSecondOfRetryAfter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name      string
		after, ms []string
		want      time.Duration
		ok        bool
	}{
		{"within the second", []string{"1"}, []string{"10"}, 10 * time.Millisecond, true},
		{"a millisecond", []string{"1"}, []string{"1"}, time.Millisecond, true},
		{"the whole second", []string{"1"}, []string{"1000"}, time.Second, true},
		{"within the third second", []string{"3"}, []string{"2001"}, 2001 * time.Millisecond, true},
		{"the longest of several", []string{"1"}, []string{"10", "20"}, 20 * time.Millisecond, true},
		{"the longest of several that were joined", []string{"1"}, []string{"10, 20"}, 20 * time.Millisecond, true},
		{"shorter by a second", []string{"3"}, []string{"2000"}, 3 * time.Second, true},
		{"longer", []string{"1"}, []string{"1001"}, time.Second, true},
		{"zero", []string{"1"}, []string{"0"}, time.Second, true},
		{"junk", []string{"1"}, []string{"10.5"}, time.Second, true},
		{"negative", []string{"1"}, []string{"-1"}, time.Second, true},
		{"with a date", []string{"Mon, 23 Nov 2026 12:00:01 GMT"}, []string{"30"}, 30 * time.Millisecond, true},
		{"alone", nil, []string{"30"}, 30 * time.Millisecond, true},
		{"beside junk", []string{"soon"}, []string{"30"}, 30 * time.Millisecond, true},
		{"forty digits", nil, []string{strings.Repeat("9", 40)}, 9_223_372_036_854 * time.Millisecond, true},
	} {
		d, ok := retryhint.After(http.Header{"Retry-After": row.after, "Retry-After-Ms": row.ms}, now)
		if d != row.want || ok != row.ok {
			t.Errorf("%s: %v, %v", row.name, d, ok)
		}
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		0: false, 200: false, 304: false, 400: false, 408: false, 409: false, 425: false, 428: false, 429: true, 430: false, 499: false,
		500: true, 501: false, 502: true, 503: true, 504: true, 599: true, 600: false, 999: false,
	} {
		if retryhint.Retryable(status) != want {
			t.Errorf("%d", status)
		}
	}
}

func TestRefusedIfAnyValueIsFalse(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"true"}, false},
		{[]string{"0"}, false},
		{[]string{"false"}, true},
		{[]string{" FALSE\t"}, true},
		{[]string{"true", "false"}, true},
		{[]string{"fal\u017fe"}, false},
		{[]string{"true, false"}, true},
		{[]string{"falsehood", "not false"}, false},
	} {
		if retryhint.Refused(http.Header{"X-Should-Retry": row.lines}) != row.want {
			t.Errorf("%q", row.lines)
		}
	}
}

func FuzzAfter(f *testing.F) {
	for _, value := range []string{"120", "Mon, 23 Nov 2026 12:00:10 GMT", "Monday, 23-Nov-26 12:00:10 GMT", "Mon Nov 23 12:00:10 2026", "-1", "99999999999999999999", " 5 "} {
		f.Add(value, value)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		d, ok := retryhint.After(http.Header{"Retry-After": {a, b}}, now)
		one, okOne := retryhint.After(http.Header{"Retry-After": {a}}, now)
		other, okOther := retryhint.After(http.Header{"Retry-After": {b}}, now)
		if d < 0 || d != max(one, other) || ok != (okOne || okOther) {
			t.Errorf("%v, %v", d, ok)
		}
		if n, err := strconv.ParseUint(a, 10, 32); err == nil && a == b && uint64(d/time.Second) != n {
			t.Errorf("%q: %v", a, d)
		}
	})
}

func BenchmarkAfter(b *testing.B) {
	for name, value := range map[string]string{"seconds": "120", "date": "Mon, 23 Nov 2026 12:00:10 GMT"} {
		b.Run(name, func(b *testing.B) {
			h := http.Header{"Retry-After": {value}}
			b.ReportAllocs()
			for b.Loop() {
				retryhint.After(h, now)
			}
		})
	}
}

func TestFormatAfterRoundsUpToAtLeastOneSecond(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		math.MinInt64: "1", -1: "1", 0: "1", 1: "1", time.Second: "1", time.Second + 1: "2", time.Hour: "3600", math.MaxInt64: "9223372037",
	} {
		if got := retryhint.FormatAfter(d); got != want {
			t.Errorf("%v: %s, not %s", d, got, want)
		}
	}
}
