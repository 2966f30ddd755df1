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

// differences says which facts are not the same in two lives, and why. A name that ends with
// " over HTTP/1.1" or " over HTTP/2" is about that protocol only.
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

// facts is what a handler, a layer around it and a client see of one request, by name.
type facts struct {
	mu   sync.Mutex
	seen map[string]string
	file string // that a handler had, and that must be gone
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

// nameOf returns the same text for the errors that HTTP/1.1 and HTTP/2 have for the same mistake.
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

// differ returns the names of the facts that are not the same in a and b.
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

// both shows the facts that are not the same in a and b.
func both(a, b *facts) string {
	var lines strings.Builder
	for _, what := range differ(a, b) {
		fmt.Fprintf(&lines, "%s: %q, %q\n", what, a.seen[what], b.seen[what])
	}
	return lines.String()
}

// life is what one handler does with one request, and all that is different when that has a key.
type life struct {
	name   string
	ask    func(*http.Request)        // what is special about the request
	around func(h http.Header, n int) // what an outer layer does to the header of the n-th response
	handle func(f *facts, w http.ResponseWriter, r *http.Request)
	keyed  differences // between a request without a key and one with
	replay differences // between the first response and the replay, besides alwaysNew
	again  string      // what a second request with the key gets: a replay, or this
	cut    string      // what a client gets with a key where it gets a cut response without one
}

// alwaysNew is what is never the same in a replay.
var alwaysNew = []string{"header Idempotent-Replayed", "header Original-Request", "header Request-Id", "header X-Request-Id"}

// What a second request gets that is not answered with a replay.
const (
	runs        = "the handler runs again"
	unavailable = "idempotency_response_unavailable"
)

// What a client gets with a key in place of a part of a response.
const (
	aCleanError = "500"
	nothing     = "no response"
)

// requireCut checks that a response is cut without a key, and what comes instead with one. It
// returns what else there is to see of the two.
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

// ofHandler returns what a handler and a layer around it have seen.
func (f *facts) ofHandler() *facts {
	seen := maps.Clone(f.seen)
	maps.DeleteFunc(seen, func(what, _ string) bool {
		return !strings.HasPrefix(what, "handler: ") && what != "outer layer: form" && what != "temporary file is gone"
	})
	return &facts{seen: seen}
}

type outerKey struct{}

// world serves a life.
type world struct {
	t      *testing.T
	life   *life
	server *memhttp.Server

	mu       sync.Mutex
	requests int
	runs     int
	current  *facts
	done     chan struct{}
}

func newWorld(t *testing.T, l *life, start func(http.Handler) *memhttp.Server, store idempotent.Store) *world {
	w := &world{t: t, life: l}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{kind}", func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.runs++
		f := w.current
		w.mu.Unlock()
		l.handle(f, rw, r)
	})
	keyed := idempotent.New(store, idempotent.ByPrincipal, &idempotent.Options{OmitFields: []string{"X-Trace"}})
	w.server = start(w.outer(keyed(mux)))
	t.Cleanup(w.server.Close)
	return w
}

// outer is a chain: it names the request and its principal, sets a deadline and fields, and
// looks at the request afterwards, as an access log does.
func (w *world) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests++
		n, f, done := w.requests, w.current, w.done
		w.mu.Unlock()
		defer close(done)
		before := r
		rw, r, state := reqstate.Enter(rw, r)
		state.AnnounceRequestID(rw, func() string { return fmt.Sprint("req_", n) })
		rw.Header().Set("Vary", "Origin")
		if w.life.around != nil {
			w.life.around(rw.Header(), n)
		}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), outerKey{}, "value"), time.Hour)
		defer cancel()
		r = reqstate.WithPrincipal(r.WithContext(ctx), "customer")
		defer func() {
			f.see("outer layer: pattern", r.Pattern)
			f.see("outer layer: form", r.PostForm)
			f.see("outer layer: header", rw.Header())
			f.see("outer layer: principal", state.Authenticated())
			f.see("outer layer: error", state.Err() != nil)
		}()
		reqstate.Serve(next, rw, before, r)
	})
}

var where = regexp.MustCompile(` (serving|from|of) .*`)

// live sends a request and returns what was seen of it. An empty key is none.
func (w *world) live(key string) *facts {
	f := &facts{seen: make(map[string]string)}
	w.mu.Lock()
	w.current, w.done = f, make(chan struct{})
	w.mu.Unlock()
	logged := len(w.server.Log())
	var interim []string
	ctx := httptrace.WithClientTrace(w.t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			interim = append(interim, fmt.Sprint(code, h["Link"]))
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+"/v1/things", strings.NewReader("hello"))
	require.NoError(w.t, err)
	req.Header.Set("Accept-Encoding", "identity")
	if w.life.ask != nil {
		w.life.ask(req)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := w.server.Transport().RoundTrip(req)
	if err != nil {
		f.see("status", "no response")
	} else {
		w.read(f, resp)
	}
	<-w.done
	f.see("1xx", interim)
	var lines []string
	for line := range strings.Lines(w.server.Log()[logged:]) {
		if strings.HasPrefix(line, "http") {
			lines = append(lines, where.ReplaceAllString(strings.TrimSpace(line), ""))
		}
	}
	f.see("server's log", lines)
	return f
}

func (f *facts) lookForFile() {
	if f.file != "" {
		_, err := os.Stat(f.file)
		f.see("temporary file is gone", os.IsNotExist(err))
	}
}

func (w *world) read(f *facts, resp *http.Response) {
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

func (l *life) test(t *testing.T, protocol string, start func(http.Handler) *memhttp.Server, store idempotent.Store) {
	u, w := newWorld(t, l, start, store), newWorld(t, l, start, store)
	unkeyed, first, again := u.live(""), w.live("k"), w.live("k")
	for _, w := range []*world{u, w} {
		w.server.Close() // net/http removes files after the response
	}
	for _, f := range []*facts{unkeyed, first, again} {
		f.lookForFile()
	}

	if l.cut != "" {
		a, b := requireCut(t, l.cut, unkeyed, first)
		require.Equal(t, l.keyed.over(protocol), differ(a, b), "%s", both(a, b))
	} else {
		require.Equal(t, l.keyed.over(protocol), differ(unkeyed, first), "%s", both(unkeyed, first))
	}

	switch l.again {
	case runs:
		require.Equal(t, 2, w.runs)
		require.Equal(t, withoutIDs(first), withoutIDs(again))
	case unavailable:
		require.Equal(t, 1, w.runs)
		require.Contains(t, again.seen["body"], unavailable)
	default:
		require.Equal(t, 1, w.runs)
		for _, f := range []*facts{first, again} { // what only a request sees that runs
			maps.DeleteFunc(f.seen, func(what, _ string) bool {
				return strings.HasPrefix(what, "handler: ") || strings.HasPrefix(what, "outer layer: ") ||
					what == "server's log" || what == "temporary file is gone"
			})
		}
		want := append(l.replay.over(protocol), alwaysNew...)
		slices.Sort(want)
		require.Equal(t, want, differ(first, again), "%s", both(first, again))
	}
}

// withoutIDs returns the facts with the ids of all requests blotted out.
func withoutIDs(f *facts) map[string]string {
	all := make(map[string]string)
	for what, value := range f.seen {
		all[what] = regexp.MustCompile(`req_\d+`).ReplaceAllString(value, "req_N")
	}
	return all
}

func TestKeyedHandlerLivesInTheSameWorld(t *testing.T) {
	t.Parallel()
	for protocol, start := range map[string]func(http.Handler) *memhttp.Server{"HTTP/1.1": memhttp.New, "HTTP/2": memhttp.NewHTTP2} {
		for _, l := range lives {
			t.Run(l.name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				l.test(t, protocol, start, memory())
			})
		}
	}
}

// In an Executor it is the same world, but that no response goes out before the commit: Stream
// does nothing, and what is over MaxResponse fails.
func TestKeyedHandlerLivesInTheSameWorldInAnExecutor(t *testing.T) {
	t.Parallel()
	for _, l := range lives {
		if l.again == unavailable {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			_, store := newExecutor()
			l.test(t, "HTTP/1.1", memhttp.New, store)
		})
	}
}

// failing is a handler that returns an error.
func failing(f func(f *facts, w http.ResponseWriter, r *http.Request) error) func(*facts, http.ResponseWriter, *http.Request) {
	return func(seen *facts, w http.ResponseWriter, r *http.Request) {
		apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return f(seen, w, r) }).ServeHTTP(w, r)
	}
}

var errHandler = errors.New("the handler failed")

// sendForm is a request with a form in its body.
func sendForm(r *http.Request) {
	setBody(r, url.Values{"name": {"value"}, "n": {"1", "2"}}.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
}

// uploadForm is a request with a file that is too large for memory.
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

// chunked is a request of unknown length, with a trailer.
func chunked(r *http.Request) {
	setBody(r, "hello")
	r.ContentLength = -1
	r.Trailer = http.Header{"X-Sum": {"5"}}
}
