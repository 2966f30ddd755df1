package retry_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/retry"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// rounds multiplies the number of random calls: see "make soak".
var rounds = flag.Int("rounds", 1, "multiply the number of random calls in the tests that make some")

// baseFunc is a base transport of one function.
type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer makes a response, with headers given as "Name: value".
func answer(status int, body string, headers ...string) *http.Response {
	h := make(http.Header)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: newBody(body), ContentLength: int64(len(body)),
	}
}

// errorBody is what a server of the specification sends.
func errorBody(code string) string {
	return `{"error":{"type":"api_error","code":"` + code + `","message":"No.","request_id":"req_fromthebody"}}`
}

// body counts how often it was closed.
type body struct {
	io.Reader
	mu     sync.Mutex
	closes int
}

func newBody(s string) *body { return &body{Reader: strings.NewReader(s)} }

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closes++
	return nil
}

func (b *body) closed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closes
}

// script is a base that gives its answers in order, the last one for ever, and remembers what it was sent.
type script struct {
	answers []func(*http.Request) (*http.Response, error)

	mu       sync.Mutex
	requests []*http.Request
	sent     []string // bodies
	given    []*body  // of the answers
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, r)
	s.sent = append(s.sent, string(sent))
	s.mu.Unlock()
	resp, err := s.answers[min(n, len(s.answers)-1)](r)
	if resp != nil {
		resp.Request = r
		if b, ok := resp.Body.(*body); ok {
			s.mu.Lock()
			s.given = append(s.given, b)
			s.mu.Unlock()
		}
	}
	return resp, err
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// keys are those that were sent.
func (s *script) keys() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		keys = append(keys, strings.Join(r.Header["Idempotency-Key"], "|"))
	}
	return keys
}

func status(status int, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return answer(status, "body of "+http.StatusText(status), headers...), nil
	}
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func scripted(answers ...func(*http.Request) (*http.Response, error)) *script {
	return &script{answers: answers}
}

var errBroken = errors.New("connection reset by peer")

// quiet is a logger for tests that do not look at the log.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// logged is a logger and what it wrote.
func logged() (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), &out
}

// request makes one; a nil body is none.
func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func transport(base http.RoundTripper) *retry.Transport {
	return &retry.Transport{Base: base, Logger: quiet()}
}
