package retry_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// baseFunc is a base transport.
type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer returns a response. Headers are given as "Name: value".
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

// errorBody returns the error object that a server sends for a code.
func errorBody(code string) string {
	return `{"error":{"type":"api_error","code":"` + code + `","message":"No.","request_id":"req_fromthebody"}}`
}

// body counts how often it is closed.
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

// script is a base that gives its answers in order, and then always the last one. It
// records the requests.
type script struct {
	answers []baseFunc

	mu       sync.Mutex
	requests []*http.Request
	sent     []string // bodies
	given    []*body  // of its responses
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

// keys returns the Idempotency-Key of every request.
func (s *script) keys() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		keys = append(keys, strings.Join(r.Header["Idempotency-Key"], "|"))
	}
	return keys
}

func status(status int, headers ...string) baseFunc {
	return func(*http.Request) (*http.Response, error) {
		return answer(status, "body of "+http.StatusText(status), headers...), nil
	}
}

func fails(err error) baseFunc {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func scripted(answers ...baseFunc) *script {
	return &script{answers: answers}
}

// dead is a base that always answers with status.
type dead struct {
	mu     sync.Mutex
	status int
	calls  int
}

func (d *dead) set(status int) { d.mu.Lock(); d.status = status; d.mu.Unlock() }

func (d *dead) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	return answer(d.status, ""), nil
}

// flaky answers the first n requests with 503 without reading them, and the others with 200 and
// their body.
func flaky(n int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if atomic.AddInt32(&n, -1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(b)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
