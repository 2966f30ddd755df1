package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// runBubble runs f as a parallel subtest in a synctest bubble, whose clock is not the real one.
func runBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, f)
	})
}

// Requests through a handler.

// reply is a response that was read to its end.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

func (r reply) replayed() bool { return r.Header.Get("Idempotent-Replayed") == "true" }

// keyedRequest returns a POST with a key. The body may be nil.
func keyedRequest(key string, body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", body)
	r.Header.Set("Idempotency-Key", key)
	return r
}

// do serves a request without a server.
func do(h http.Handler, r *http.Request) reply {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

// call serves a POST with a key. The handler may panic or end its goroutine.
func call(h http.Handler, key, body string) reply {
	w := httptest.NewRecorder()
	isolated(func() { h.ServeHTTP(w, keyedRequest(key, strings.NewReader(body))) })
	return reply{w.Code, w.Header(), w.Body.String()}
}

// callWith serves a POST with a key and the context ctx.
func callWith(ctx context.Context, h http.Handler, key string) reply {
	return do(h, keyedRequest(key, nil).WithContext(ctx))
}

// callAs serves a POST with a key of a principal.
func callAs(h http.Handler, principal, key, body string) reply {
	return call(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, reqstate.WithPrincipal(r, principal))
	}), key, body)
}

// Requests through a server.

// serve starts a server for h, with middleware around it.
func serve(t testing.TB, h http.Handler, mw ...func(http.Handler) http.Handler) *memhttp.Server {
	t.Helper()
	for _, mw := range slices.Backward(mw) {
		h = mw(h)
	}
	s := memhttp.New(h)
	t.Cleanup(s.Close)
	return s
}

// post sends a POST to a server. It has no key if key is empty.
func post(t testing.TB, s *memhttp.Server, key, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/resources", strings.NewReader(body))
	require.NoError(t, err)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return send(t, s, req)
}

func send(t testing.TB, s *memhttp.Server, req *http.Request) reply {
	t.Helper()
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// Handlers and functions that count their runs.

// counter is a handler that counts its runs. By default it answers 201 with the run's number and
// the request's body.
type counter struct {
	runs  atomic.Int64
	serve func(n int64, w http.ResponseWriter, r *http.Request)
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.runs.Add(1)
	if c.serve != nil {
		c.serve(n, w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Location", fmt.Sprint("/v1/resources/", n))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "run %d: %s", n, body)
}

// slow returns a handler that answers 200 after d.
func slow(d time.Duration) *counter {
	return &counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(d) }}
}

// status returns a handler that answers with a status.
func status(code int) *counter {
	return &counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }}
}

// writes returns a handler that answers 200 with a body.
func writes(body string) *counter {
	return &counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }}
}

// protected returns f behind a middleware that has its own Memory.
func protected(o *idempotent.Options, f http.HandlerFunc) http.Handler {
	return idempotent.New(memory(), idempotent.Global, o)(f)
}

// wrapWriter is a layer around h that changes its ResponseWriter.
func wrapWriter(h http.Handler, wrap func(http.ResponseWriter) http.ResponseWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrap(w), r) })
}

// callOf returns the call of a customer with a key.
func callOf(key string) idempotent.Call {
	return idempotent.Call{Principal: "customer", Key: key}
}

// work is the function of a Do. It counts its runs. By default it returns the run's number.
type work struct {
	runs int
	do   func(ctx context.Context, n int) (string, error)
}

func (w *work) run(ctx context.Context) (string, error) {
	w.runs++
	if w.do != nil {
		return w.do(ctx, w.runs)
	}
	return fmt.Sprint("run ", w.runs), nil
}

// slowValue is the function of a Do that returns 1 after d.
func slowValue(d time.Duration) func(context.Context) (int, error) {
	return func(context.Context) (int, error) {
		time.Sleep(d)
		return 1, nil
	}
}

// fails returns work that returns err in each run.
func fails(err error) *work {
	return &work{do: func(context.Context, int) (string, error) { return "", err }}
}

// isolated calls f on its own goroutine, so that f may panic or end it. It returns the value of
// a panic, and whether f returned.
func isolated(f func()) (panicked any, returned bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
		returned = true
	}()
	<-done
	return panicked, returned
}

// Events and logs.

// eventLog collects events.
type eventLog struct {
	mu     sync.Mutex
	events []idempotent.Event
}

func (l *eventLog) observe(_ context.Context, e idempotent.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *eventLog) last() idempotent.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[len(l.events)-1]
}

func (l *eventLog) outcomes() (outcomes []idempotent.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		outcomes = append(outcomes, e.Outcome)
	}
	return outcomes
}

// require checks the outcomes of all events, in their order.
func (l *eventLog) require(t *testing.T, outcomes ...idempotent.Outcome) {
	t.Helper()
	require.Equal(t, outcomes, l.outcomes())
}

// count returns how many events have this outcome.
func (l *eventLog) count(o idempotent.Outcome) (n int) {
	for _, got := range l.outcomes() {
		if got == o {
			n++
		}
	}
	return n
}

// logBuffer is a log that several goroutines may write.
type logBuffer struct{ logbuf.Buffer }

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// idOf returns the ID of a key in a namespace.
func idOf(namespace, principal, key string) idempotent.ID {
	return (&idempotent.Options{Namespace: namespace}).ID(principal, key)
}
