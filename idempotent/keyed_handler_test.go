package idempotent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// A handler with a key sees and sends the same as one without. docs/KEYED_HANDLERS.md lists the
// exceptions. The tests of this file compare a request without a key, one with a key, and its
// retry: for each handlerCase, all that differs must be in its table.

func TestKeyedHandlers(t *testing.T) {
	t.Parallel()
	for protocol, start := range map[string]func(http.Handler) *memhttp.Server{"HTTP/1.1": memhttp.New, "HTTP/2": memhttp.NewHTTP2} {
		for _, c := range handlerCases {
			t.Run(c.name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				c.test(t, protocol, start, memory())
			})
		}
	}
}

// In an Executor no response is sent before the commit. Stream does nothing there, and a response
// over MaxResponse fails.
func TestKeyedHandlersInAnExecutor(t *testing.T) {
	t.Parallel()
	for _, c := range handlerCases {
		if c.again == unavailable {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, store := newExecutor()
			c.test(t, "HTTP/1.1", memhttp.New, store)
		})
	}
}

// handlerCase is a handler, a request, and all that differs when the request has a key.
type handlerCase struct {
	name   string
	ask    func(*http.Request)        // changes the request
	around func(h http.Header, n int) // is an outer layer that changes the header of the n-th response
	handle func(f *facts, w http.ResponseWriter, r *http.Request)
	keyed  differences // between a request without a key and one with a key
	replay differences // between the first response and the replay, besides alwaysNew
	again  string      // the answer to a retry, if it is not a replay: runsAgain or unavailable
	cut    string      // with a key, if the response is cut without one: aCleanError or noResponse
}

const (
	runsAgain   = "the handler runs again"
	unavailable = "idempotency_response_unavailable"

	aCleanError = "500"
	noResponse  = "no response"
)

// alwaysNew are the fields that differ in every replay.
var alwaysNew = []string{"header Idempotent-Replayed", "header Original-Request", "header Request-Id", "header X-Request-Id"}

// differences has the names of facts that differ, and the reasons. A name that ends with
// " over HTTP/1.1" or " over HTTP/2" is for that protocol only.
type differences map[string]string

func (d differences) over(protocol string) (names []string) {
	for what := range d {
		if name, only, some := strings.Cut(what, " over "); !some || only == protocol {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *handlerCase) test(t *testing.T, protocol string, start func(http.Handler) *memhttp.Server, store idempotent.Store) {
	unkeyedService, service := newService(t, c, start, store), newService(t, c, start, store)
	unkeyed, first, again := unkeyedService.observe(""), service.observe("k"), service.observe("k")
	unkeyedService.server.Close() // net/http removes files after the response
	service.server.Close()
	for _, f := range []*facts{unkeyed, first, again} {
		f.lookForFile()
	}

	a, b := unkeyed, first
	if c.cut != "" {
		a, b = requireCut(t, c.cut, unkeyed, first)
	}
	require.Equal(t, c.keyed.over(protocol), differ(a, b), "%s", both(a, b))

	switch c.again {
	case runsAgain:
		require.Equal(t, 2, service.runs)
		require.Equal(t, withoutIDs(first), withoutIDs(again))
	case unavailable:
		require.Equal(t, 1, service.runs)
		require.Contains(t, again.seen["body"], unavailable)
	default:
		require.Equal(t, 1, service.runs)
		want := append(c.replay.over(protocol), alwaysNew...)
		slices.Sort(want)
		first, again = first.ofClient(), again.ofClient()
		require.Equal(t, want, differ(first, again), "%s", both(first, again))
	}
}

// requireCut checks that a response is cut without a key, and is as wanted with one. It returns
// what the handlers have seen.
func requireCut(t *testing.T, want string, unkeyed, keyed *facts) (a, b *facts) {
	t.Helper()
	require.NotEqual(t, "true", unkeyed.seen["body is whole"])
	require.Equal(t, want, keyed.seen["status"])
	if want == aCleanError {
		require.Equal(t, "true", keyed.seen["body is whole"])
		require.Contains(t, keyed.seen["body"], `"code":"api_error"`)
		require.Contains(t, keyed.seen["body"], `"request_id":"req_1"`)
	}
	return unkeyed.ofHandler(), keyed.ofHandler()
}

// facts are what a handler, a layer around it and a client see of one request, by name.
type facts struct {
	mu   sync.Mutex
	seen map[string]string
	file string // that the handler had, and that must be removed
}

func (f *facts) see(what string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := fmt.Sprint(value)
	if err, ok := value.(error); ok {
		text = nameOf(err)
	}
	f.seen[what] = text
}

// nameOf returns the same text for the errors of HTTP/1.1 and HTTP/2 with the same meaning.
func nameOf(err error) string {
	for _, known := range []error{http.ErrBodyNotAllowed, http.ErrContentLength, http.ErrNotSupported} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	switch err.Error() {
	case "http2: handler wrote more than declared Content-Length":
		err = http.ErrContentLength
	case "body closed by handler":
		err = http.ErrBodyReadAfterClose
	}
	return err.Error()
}

func (f *facts) lookForFile() {
	if f.file != "" {
		_, err := os.Stat(f.file)
		f.see("temporary file is gone", os.IsNotExist(err))
	}
}

// ofHandler returns what the handler and the layer around it see.
func (f *facts) ofHandler() *facts {
	return f.filter(func(what string) bool {
		return strings.HasPrefix(what, "handler: ") || what == "outer layer: form" || what == "temporary file is gone"
	})
}

// ofClient returns what the client sees.
func (f *facts) ofClient() *facts {
	return f.filter(func(what string) bool {
		return !strings.HasPrefix(what, "handler: ") && !strings.HasPrefix(what, "outer layer: ") &&
			what != "server's log" && what != "temporary file is gone"
	})
}

func (f *facts) filter(keep func(what string) bool) *facts {
	seen := maps.Clone(f.seen)
	maps.DeleteFunc(seen, func(what, _ string) bool { return !keep(what) })
	return &facts{seen: seen}
}

// differ returns the names of the facts that differ.
func differ(a, b *facts) (names []string) {
	all := maps.Clone(a.seen)
	maps.Copy(all, b.seen)
	for what := range all {
		x, inA := a.seen[what]
		y, inB := b.seen[what]
		if x != y || inA != inB {
			names = append(names, what)
		}
	}
	slices.Sort(names)
	return names
}

// both shows the facts that differ.
func both(a, b *facts) string {
	var lines strings.Builder
	for _, what := range differ(a, b) {
		fmt.Fprintf(&lines, "%s: %q, %q\n", what, a.seen[what], b.seen[what])
	}
	return lines.String()
}

var requestID = regexp.MustCompile(`req_\d+`)

// withoutIDs returns the facts without the IDs of requests.
func withoutIDs(f *facts) map[string]string {
	all := make(map[string]string)
	for what, value := range f.seen {
		all[what] = requestID.ReplaceAllString(value, "req_N")
	}
	return all
}

// service serves a handlerCase.
type service struct {
	t      *testing.T
	c      *handlerCase
	server *memhttp.Server

	mu       sync.Mutex
	requests int
	runs     int
	current  *facts
	done     chan struct{}
}

func newService(t *testing.T, c *handlerCase, start func(http.Handler) *memhttp.Server, store idempotent.Store) *service {
	s := &service{t: t, c: c}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{kind}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.runs++
		f := s.current
		s.mu.Unlock()
		c.handle(f, w, r)
	})
	keyed := idempotent.New(store, idempotent.ByPrincipal, &idempotent.Options{OmitFields: []string{"X-Trace"}})
	s.server = start(s.outer(keyed(mux)))
	t.Cleanup(s.server.Close)
	return s
}

type outerKey struct{}

// outer is a chain. It names the request and its principal, sets a deadline and fields, and looks
// at the request afterward, as an access log does.
func (s *service) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		n, f, done := s.requests, s.current, s.done
		s.mu.Unlock()
		defer close(done)
		before := r
		w, r, state := reqstate.Enter(w, r)
		state.AnnounceRequestID(w, func() string { return fmt.Sprint("req_", n) })
		w.Header().Set("Vary", "Origin")
		if s.c.around != nil {
			s.c.around(w.Header(), n)
		}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), outerKey{}, "value"), time.Hour)
		defer cancel()
		r = reqstate.WithPrincipal(r.WithContext(ctx), "customer")
		defer func() {
			f.see("outer layer: pattern", r.Pattern)
			f.see("outer layer: form", r.PostForm)
			f.see("outer layer: header", w.Header())
			f.see("outer layer: principal", state.Authenticated())
			f.see("outer layer: error", state.Err() != nil)
		}()
		reqstate.Serve(next, w, before, r)
	})
}

// observe sends a request and returns its facts. It has no key if key is empty.
func (s *service) observe(key string) *facts {
	f := &facts{seen: make(map[string]string)}
	s.mu.Lock()
	s.current, s.done = f, make(chan struct{})
	s.mu.Unlock()
	logged := len(s.server.Log())
	var interim []string
	ctx := httptrace.WithClientTrace(s.t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			interim = append(interim, fmt.Sprint(code, h["Link"]))
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.URL+"/v1/things", strings.NewReader("hello"))
	require.NoError(s.t, err)
	req.Header.Set("Accept-Encoding", "identity")
	if s.c.ask != nil {
		s.c.ask(req)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if resp, err := s.server.Transport().RoundTrip(req); err != nil {
		f.see("status", noResponse)
	} else {
		f.read(resp)
	}
	<-s.done
	f.see("1xx", interim)
	f.see("server's log", logLines(s.server.Log()[logged:]))
	return f
}

var logDetails = regexp.MustCompile(` (serving|from|of) .*`)

// logLines returns the lines of net/http in its log, without addresses and stacks.
func logLines(log string) (lines []string) {
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "http") {
			lines = append(lines, logDetails.ReplaceAllString(strings.TrimSpace(line), ""))
		}
	}
	return lines
}

// read adds what a client sees of a response.
func (f *facts) read(resp *http.Response) {
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	f.see("status", resp.StatusCode)
	f.see("body", string(body))
	f.see("body is whole", err == nil)
	f.see("length", resp.ContentLength)
	f.see("connection is closed", resp.Close)
	for name, values := range resp.Header {
		if name == "Date" {
			values = []string{"now"}
			if at, err := http.ParseTime(resp.Header.Get(name)); err != nil || time.Since(at) > time.Hour {
				values = []string{"not now"}
			}
		}
		f.see("header "+name, strings.Join(values, " & "))
	}
	for name, values := range resp.Trailer {
		f.see("trailer "+name, strings.Join(values, " & "))
	}
}

// failing returns a handler that answers the error of f.
func failing(f func(f *facts, w http.ResponseWriter, r *http.Request) error) func(*facts, http.ResponseWriter, *http.Request) {
	return func(seen *facts, w http.ResponseWriter, r *http.Request) {
		apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return f(seen, w, r) }).ServeHTTP(w, r)
	}
}

var errHandler = errors.New("the handler failed")

// sendForm gives a request a form as its body.
func sendForm(r *http.Request) {
	setBody(r, url.Values{"name": {"value"}, "n": {"1", "2"}}.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
}

// uploadForm gives a request a form with a file that is too large for the memory of the test.
func uploadForm(r *http.Request) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.SetBoundary("boundary")
	_ = w.WriteField("name", "value")
	part, _ := w.CreateFormFile("file", "name.txt")
	_, _ = part.Write(bytes.Repeat([]byte("x"), 5000))
	_ = w.Close()
	setBody(r, b.String())
	r.Header.Set("Content-Type", w.FormDataContentType())
}

func setBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.GetBody = nil
}

// chunked gives a request a body of unknown length, and a trailer.
func chunked(r *http.Request) {
	setBody(r, "hello")
	r.ContentLength = -1
	r.Trailer = http.Header{"X-Sum": {"5"}}
}

// hijack tries to take over a connection. It does not if it would succeed.
func hijack(c *http.ResponseController, r *http.Request) error {
	if r.ProtoMajor == 1 && r.Header.Get("Idempotency-Key") == "" {
		return nil
	}
	_, _, err := c.Hijack()
	return err
}
