package plain

import (
	"net/url"
	"strings"
	"testing"
)

func TestRedactURLsRemovesUserinfoQueryAndFragment(t *testing.T) {
	t.Parallel()
	const secret = "https://user:hush@a.example:8443/token?client=hush&more=hush#hush"
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"no URL", "what? me@example #1", "what? me@example #1"},
		{"a URL without secrets", "https://a.example/x", "https://a.example/x"},
		{"a URL with userinfo, query and fragment", secret, "https://…@a.example:8443/token?…"},
		{"a URL in a text", "fetch " + secret + " failed", "fetch https://…@a.example:8443/token?… failed"},
		{"quoted", `Get "` + secret + `": EOF`, `Get "https://…@a.example:8443/token?…": EOF`},
		{"several URLs", secret + " " + secret, strings.Repeat(" https://…@a.example:8443/token?…", 2)[1:]},
		{"one in the path of another", "https://a.example/" + secret, "https://a.example/https://…@a.example:8443/token?…"},
		{"one in the query of another", "https://a.example/?u=" + secret, "https://a.example/?…"},
		{"several @", "https://us@er:hush@a.example/x@y", "https://…@a.example/x@y"},
		{"no path", "postgres://u:hush@db?sslmode=hush", "postgres://…@db?…"},
		{"a fragment", "https://a.example/#hush, and more?", "https://a.example/#… and more?"},
		{"a question before a URL", "what? see #1: https://a.example/x", "what? see #1: https://a.example/x"},
		{"an empty userinfo", "https://@a.example/x", "https://…@a.example/x"},
		{"a tilde", "https://us~er:hush~@a.example/~x?~", "https://…@a.example/~x?…"},
		{"only a separator", "://", "://"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := RedactURLs(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A client may put such a text into a path, which an error then quotes. In quadratic time, these
// would take hours, and the test would end with go test's timeout.
func TestRedactURLsTakesLinearTime(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"://", "://a", "://a/", "://a?", "://a/ ", "://a? "} {
		text := strings.Repeat(url, 1<<20)
		if redacted := RedactURLs(text); len(redacted) == 0 {
			t.Errorf("%q, repeated: nothing is left", url)
		}
	}
}

func FuzzRedactURLs(f *testing.F) {
	f.Add("a://", "b", "\n://?")
	f.Add("http", "://u:", "@h?q")
	f.Fuzz(func(t *testing.T, before, between, after string) {
		const secret = "hushhush"
		u := url.URL{
			Scheme: "https", User: url.UserPassword(between, secret), Host: "a.example", Path: "/x",
			RawQuery: "q=" + secret, Fragment: secret,
		}
		got := RedactURLs(before + " " + u.String() + " " + after)
		if !strings.Contains(before+between+after, secret) && strings.Contains(got, secret) {
			t.Errorf("%q", got)
		}
		if again := RedactURLs(got); again != got {
			t.Errorf("not idempotent: %q, then %q", got, again)
		}
	})
}
