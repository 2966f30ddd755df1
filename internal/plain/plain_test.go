package plain

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		most     int
		want     string
	}{
		{"empty", "", 10, ""},
		{"plain", "GET /v1", 10, "GET /v1"},
		{"exactly the bound", "0123456789", 10, "0123456789"},
		{"over the bound", "0123456789a", 10, "0123456789…"},
		{"newlines", "a\nb\r\nc", 10, "a b  c"},
		{"line separators", "a\u2028b\u2029c\u0085d", 20, "a b c d"},
		{"C1 control", "GET\u009b31m", 20, "GET 31m"},
		{"right-to-left override", "GET\u202egnp", 20, "GETgnp"},
		{"byte order mark and joiners", "\ufeffa\u200bb\u200dc\u2066d", 20, "abcd"},
		{"escape and DEL", "\x1b[2J\x7f", 20, " [2J "},
		{"invalid UTF-8", "a\xff\xfeb", 20, "a\ufffd\ufffdb"},
		{"cut between runes", "ääää", 5, "ää…"},
		{"very many format characters", strings.Repeat("\u200b", 1<<10), 5, "…"},
		{"the most format characters that are skipped", strings.Repeat("\u00ad", 4) + "a", 2, "a"},
		{"one format character more", strings.Repeat("\u00ad", 5) + "a", 2, "…"},
		{"only control characters", "\n\r\t", 10, "   "},
		{"the last control character before the space", "\x1f", 10, " "},
		{"the first control character after the tilde", "\x7f", 10, " "},
		{"only format characters", "\u202e\u2066", 10, ""},
		{"only invalid bytes", "\xff\xfe", 10, "\ufffd\ufffd"},
		{"the first and the last printable ASCII character", " ~", 10, " ~"},
		{"a bound of 0", "abc", 0, "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := Text(tc.in, tc.most); got != tc.want {
				t.Errorf("got %.80q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add("GET\u009b \u202e", 7)
	f.Add("a\xffb\u2028", 3)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most &= 0xff
		got := Text(s, most)
		if !utf8.ValidString(got) || len(got) > most+len("…") {
			t.Fatalf("Text(%q, %d) = %q", s, most, got)
		}
		for _, r := range got {
			if r != ' ' && (unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Fatalf("Text(%q, %d) = %q holds %U", s, most, got, r)
			}
		}
		if again := Text(got, most+len("…")); again != got {
			t.Fatalf("not idempotent: %q, then %q", got, again)
		}
	})
}
