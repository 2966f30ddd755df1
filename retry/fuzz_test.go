package retry_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seawall-go/seawall/retry"
)

// once503 sends a GET that is answered with 503 and such headers first, then with 200, and tells how long that took.
func once503(t *testing.T, h http.Header, content string) (waited time.Duration, status int, body string) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		tr := transport(baseFunc(func(*http.Request) (*http.Response, error) {
			if !first {
				return answer(200, ""), nil
			}
			first = false
			resp := answer(503, content)
			resp.Header = h
			return resp, nil
		}))
		start := time.Now()
		resp, err := tr.RoundTrip(request(t, "GET", target, nil))
		if err != nil {
			t.Fatal(err)
		}
		waited, status = time.Since(start), resp.StatusCode
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
		resp.Body.Close()
	})
	return waited, status, body
}

func FuzzRetryAfter(f *testing.F) {
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}

		waited, status, _ := once503(t, http.Header{"Retry-After": lines}, "")

		if limit := 2*time.Minute + 100*time.Millisecond; waited > limit {
			t.Errorf("%q: waited %v", lines, waited)
		}
		if status == 503 && waited > 0 {
			t.Errorf("%q: waited %v and did not retry", lines, waited)
		}
		for _, line := range lines {
			line = strings.TrimSpace(line)
			asked := time.Duration(-1)
			if n, err := strconv.ParseUint(line, 10, 63); err == nil {
				asked = time.Duration(min(n, 1e9)) * time.Second
			} else if date, err := http.ParseTime(line); err == nil {
				asked = date.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when a bubble's clock starts
			}
			if status == 200 && waited < asked {
				t.Errorf("%q: retried after %v", lines, waited)
			}
		}
	})
}

func FuzzXShouldRetry(f *testing.F) {
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		told := false
		for v := range strings.SplitSeq(strings.Join(lines, ","), ",") {
			told = told || strings.ToLower(strings.TrimSpace(v)) == "false"
		}

		_, status, _ := once503(t, http.Header{"X-Should-Retry": lines}, "")

		if retried := status == 200; retried == told {
			t.Errorf("%q: retried is %v", lines, retried)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Fuzz(func(t *testing.T, contentType, content string) {
		logger, out := logged()
		synctest.Test(t, func(t *testing.T) {
			resp := answer(429, content, "Content-Type: "+contentType)
			resp.Header["X-Should-Retry"] = []string{"false"}
			tr := &retry.Transport{Base: baseFunc(func(*http.Request) (*http.Response, error) { return resp, nil }), Logger: logger}
			got, err := tr.RoundTrip(request(t, "GET", target, nil))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(got.Body)
			if err != nil || string(b) != content {
				t.Errorf("the body is %q, %v, want %q", b, err, content)
			}
			got.Body.Close()
		})
		if lines := strings.Count(out.String(), "\n"); lines != 1 {
			t.Errorf("%d lines: %s", lines, out)
		}
		if len(out.String()) > 4096 {
			t.Errorf("a line of %d bytes", out.Len())
		}
	})
}
