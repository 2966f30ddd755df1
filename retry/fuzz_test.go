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

// after503 sends a GET that is answered with 503 and h, then with 200. It returns the time that
// took and the status.
func after503(t *testing.T, h http.Header) (waited time.Duration, code int) {
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(func(*http.Request) (*http.Response, error) {
			resp := answer(503, "")
			resp.Header = h
			return resp, nil
		}, status(200)))
		start := time.Now()
		resp, err := tr.RoundTrip(request(t, "GET", target, nil))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		waited, code = time.Since(start), resp.StatusCode
	})
	return waited, code
}

func FuzzRetryAfter(f *testing.F) {
	for _, lines := range [][2]string{
		{"5", ""},
		{" 3 ", "\t4"},
		{"0", "0"},
		{"-1", ""},
		{"+1", "--1"},
		{"1.5", "0.1"},
		{"1e3", "0x10"},
		{"1", "60"},
		{"1, 2", ","},
		{"soon", "7"},
		{"10000000000", ""},
		{"9223372036854775807", "9223372036"},
		{strings.Repeat("9", 40), ""},
		{"Sat, 01 Jan 2000 00:00:30 GMT", ""},
		{"Saturday, 01-Jan-00 00:00:30 GMT", ""},
		{"Sat Jan  1 00:00:30 2000", ""},
		{"Thu, 01 Jan 1970 00:00:00 GMT", ""},
		{"Fri, 31 Dec 9999 23:59:59 GMT", ""},
	} {
		f.Add(lines[0], lines[1])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}

		waited, code := after503(t, http.Header{"Retry-After": lines})

		if limit := 2*time.Minute + 100*time.Millisecond; waited > limit {
			t.Errorf("%q: waited %v", lines, waited)
		}
		if code == 503 && waited > 0 {
			t.Errorf("%q: waited %v and did not retry", lines, waited)
		}
		for _, line := range lines {
			if asked := askedFor(line); code == 200 && waited < asked {
				t.Errorf("%q: retried after %v", lines, waited)
			}
		}
	})
}

// askedFor returns what a line of Retry-After asks for, or -1. A bubble's clock starts at the
// beginning of 2000.
func askedFor(line string) time.Duration {
	line = strings.TrimSpace(line)
	if n, err := strconv.ParseUint(line, 10, 63); err == nil {
		return time.Duration(min(n, 1e9)) * time.Second
	}
	if date, err := http.ParseTime(line); err == nil {
		return date.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	return -1
}

func FuzzXShouldRetry(f *testing.F) {
	for _, lines := range [][2]string{
		{"false", ""},
		{"FALSE ", "true"},
		{"true, false", ""},
		{"true", "true"},
		{"no", "0"},
		{"fa\u017fe", "fal\u017fe"}, // strings.EqualFold takes the long s for an s
	} {
		f.Add(lines[0], lines[1])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		told := false
		for v := range strings.SplitSeq(strings.Join(lines, ","), ",") {
			told = told || strings.ToLower(strings.TrimSpace(v)) == "false"
		}

		_, code := after503(t, http.Header{"X-Should-Retry": lines})

		if retried := code == 200; retried == told {
			t.Errorf("%q: retried is %v", lines, retried)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	const json = "application/json"
	f.Add(json, errorBody("api_error"))
	f.Add(json, `{"error":{"code":"a\nb","request_id":"c\u2028d"}}`)
	f.Add(json, `{"error":{"code":"`+strings.Repeat("x", 5000)+`"}}`)
	f.Add(json, strings.Repeat(`{"error":`, 50)+strings.Repeat("}", 50))
	f.Add(json, `{"error":{"code":"a`)
	f.Add(json, `{"error":"text"}`)
	f.Add(json, `{"error":null}`)
	f.Add(json, "null")
	f.Add(json, "[]")
	f.Add(json, "\ufeff"+`{"error":{}}`)
	f.Add("application/problem+json", `{"type":"about:blank","code":"x","detail":"d"}`)
	f.Add("text/html", "<html>502</html>")
	f.Add("; =", "x")
	f.Fuzz(func(t *testing.T, contentType, content string) {
		logger, out := logged()
		synctest.Test(t, func(t *testing.T) {
			tr := &retry.Transport{
				Base: baseFunc(func(*http.Request) (*http.Response, error) {
					return answer(429, content, "Content-Type: "+contentType), nil
				}),
				Policy: &retry.Policy{Retryable: func(retry.Failure) bool { return false }}, // for which the body is read
				Logger: logger,
			}
			resp, err := tr.RoundTrip(request(t, "GET", target, nil))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || string(b) != content {
				t.Errorf("the body is %q, %v, want %q", b, err, content)
			}
			resp.Body.Close()
		})
		if lines := strings.Count(out.String(), "\n"); lines != 1 {
			t.Errorf("%d lines: %s", lines, out)
		}
		if len(out.String()) > 4096 {
			t.Errorf("a line of %d bytes", out.Len())
		}
	})
}
