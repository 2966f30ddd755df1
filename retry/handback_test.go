package retry_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// watchers are the ways to make a Transport look at an error.
var watchers = []struct {
	name  string
	watch func(tr *retry.Transport, ctx context.Context) context.Context
}{
	{"the default logger", func(tr *retry.Transport, ctx context.Context) context.Context {
		tr.Logger, _ = logged()
		return ctx
	}},
	{"an observer", func(tr *retry.Transport, ctx context.Context) context.Context {
		tr.Observe = func(context.Context, retry.Event) {}
		return ctx
	}},
	{"a report", func(_ *retry.Transport, ctx context.Context) context.Context {
		ctx, _ = retry.WithReport(ctx)
		return ctx
	}},
	{"a Retryable hook", func(tr *retry.Transport, ctx context.Context) context.Context {
		tr.Policy = &retry.Policy{Retryable: func(retry.Failure) bool { return false }}
		return ctx
	}},
	{"HoldHost", func(tr *retry.Transport, ctx context.Context) context.Context {
		tr.Policy = &retry.Policy{HoldHost: true}
		return ctx
	}},
	{"one attempt", func(_ *retry.Transport, ctx context.Context) context.Context {
		return retry.WithoutRetry(ctx)
	}},
	{"an attempt timeout", func(tr *retry.Transport, ctx context.Context) context.Context {
		tr.Policy = &retry.Policy{AttemptTimeout: time.Minute}
		return ctx
	}},
}

// streamed answers with an error whose body begins immediately and ends a second later.
func streamed(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "3600")
		w.Header().Set("Trailer", "X-A")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":{"code":"a_code"`)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(time.Second)
		_, _ = io.WriteString(w, `}}`)
		w.Header().Set("X-A", "over")
	}
}

func TestStreamedErrorIsReturnedWithItsHeader(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404, 429, 500, 503} {
		for _, by := range watchers {
			t.Run(fmt.Sprint(status, " ", by.name), func(t *testing.T) {
				t.Parallel()
				server(t, streamed(status), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
					ctx := by.watch(tr, t.Context())
					start := time.Now()

					resp, err := tr.RoundTrip(request(t, "GET", s.URL, nil).WithContext(ctx))

					require.NoError(t, err)
					require.Equal(t, status, resp.StatusCode)
					require.Zero(t, time.Since(start), "the header")
					first := make([]byte, 100)
					n, err := resp.Body.Read(first)
					require.NoError(t, err)
					require.Equal(t, `{"error":{"code":"a_code"`, string(first[:n])) //nolint:testifylint // not whole
					require.Zero(t, time.Since(start), "the first bytes")
					require.Empty(t, resp.Trailer.Get("X-A"))
					_, err = io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Equal(t, "over", resp.Trailer.Get("X-A"))
					require.NoError(t, resp.Body.Close())
				})
			})
		}
	}
}

// owned is a response body that notices when others than its caller use it after it was
// returned.
type owned struct {
	io.Reader
	pause    time.Duration
	returned atomic.Bool
	byCaller atomic.Bool // the caller is in Read or Close
	touched  atomic.Bool // others used it after it was returned
	reading  atomic.Int32
	closes   atomic.Int32
}

func (o *owned) touch() {
	if o.returned.Load() && !o.byCaller.Load() {
		o.touched.Store(true)
	}
}

func (o *owned) Read(p []byte) (int, error) {
	o.reading.Add(1)
	defer o.reading.Add(-1)
	o.touch()
	time.Sleep(o.pause)
	n, err := o.Reader.Read(p[:min(len(p), 7)])
	o.touch()
	return n, err
}

func (o *owned) Close() error {
	o.touch()
	o.closes.Add(1)
	return nil
}

func (o *owned) asCaller(f func()) {
	o.byCaller.Store(true)
	f()
	o.byCaller.Store(false)
}

// gambler is a base with random answers, random watchers and random callers.
type gambler struct {
	rng   *rand.Rand
	given []*owned
	texts []string // of given
}

func (g *gambler) pick(d ...time.Duration) time.Duration { return d[g.rng.IntN(len(d))] }

func (g *gambler) RoundTrip(*http.Request) (*http.Response, error) {
	rng := g.rng
	time.Sleep(g.pick(0, time.Millisecond, time.Second))
	if rng.IntN(5) == 0 {
		return nil, errBroken
	}
	status := []int{200, 302, 404, 409, 429, 500, 503}[rng.IntN(7)]
	text := errorBody("rate_limit_exceeded")[:rng.IntN(60)] + strings.Repeat("x", []int{0, 100, 70 << 7}[rng.IntN(3)])
	o := &owned{Reader: strings.NewReader(text), pause: g.pick(0, 0, time.Microsecond, 40*time.Millisecond)}
	g.given, g.texts = append(g.given, o), append(g.texts, text)
	resp := answer(status, "")
	resp.Body, resp.ContentLength = o, int64(len(text))
	if rng.IntN(2) == 0 {
		resp.ContentLength = -1
	}
	if rng.IntN(3) > 0 {
		resp.Header.Set("Content-Type", "application/json")
	}
	if rng.IntN(3) == 0 {
		resp.Header.Set("Retry-After", "1")
	}
	return resp, nil
}

// call sends a request with a random deadline and cancellation.
func (g *gambler) call(t *testing.T) (*http.Response, error) {
	tr := transport(g)
	ctx := t.Context()
	for _, by := range watchers {
		if g.rng.IntN(3) == 0 {
			ctx = by.watch(tr, ctx)
		}
	}
	req := request(t, "GET", target, nil)
	if d := g.pick(0, 0, 30*time.Millisecond, 2*time.Second); d > 0 {
		deadline, cancel := context.WithTimeout(ctx, d)
		t.Cleanup(cancel)
		ctx = deadline
	}
	if g.rng.IntN(4) == 0 {
		done := make(chan struct{})
		req.Cancel = done
		timer := time.AfterFunc(g.pick(time.Millisecond, 500*time.Millisecond), func() { close(done) })
		t.Cleanup(func() { timer.Stop() })
	}
	return tr.RoundTrip(req.WithContext(ctx))
}

// use reads the last response that was returned, perhaps, and closes it.
func (g *gambler) use(t *testing.T, resp *http.Response) {
	own := g.given[len(g.given)-1]
	own.returned.Store(true)
	synctest.Wait()
	require.Zero(t, own.reading.Load(), "the Transport is reading it")
	require.Zero(t, own.closes.Load(), "the Transport has closed it")
	if g.rng.IntN(4) > 0 {
		own.asCaller(func() {
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, g.texts[len(g.texts)-1], string(text))
		})
	}
	own.asCaller(func() { require.NoError(t, resp.Body.Close()) })
}

// After RoundTrip has returned a response, only its caller reads and closes it. Every other
// response is closed. The caller reads what the server sent.
func TestOnlyTheCallerUsesAReturnedResponse(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000 * *rounds) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			g := &gambler{rng: rand.New(rand.NewPCG(seed, 11))}

			resp, err := g.call(t)

			require.NotEqual(t, resp == nil, err == nil)
			if resp != nil {
				g.use(t, resp)
			}
			time.Sleep(time.Hour)
			for _, o := range g.given {
				require.False(t, o.touched.Load(), "the Transport used it after it was returned")
				require.EqualValues(t, 1, o.closes.Load())
			}
		})
	}
}

// Callers of many kinds, for the race detector: with trailers, streams, bodies that are
// not read to the end, and a ReverseProxy, over HTTP/1 and HTTP/2.
func TestResponsesInAReverseProxy(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Has("trailer") {
			w.Header().Set("Trailer", "X-A")
		}
		status, err := strconv.Atoi(r.URL.Query().Get("status"))
		if err != nil {
			panic(err)
		}
		w.WriteHeader(status)
		for range 3 {
			_, _ = io.WriteString(w, strings.Repeat(`{"error":{}}`, 50))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(30 * time.Millisecond)
		}
		w.Header().Set("X-A", "over")
	})
	for name, start := range map[string]func(http.Handler) *memhttp.Server{"HTTP/1": memhttp.New, "HTTP/2": memhttp.NewHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				backend := start(h)
				defer backend.Close()
				tr := &retry.Transport{
					Base:    backend.Transport(),
					Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)), //nolint:sloglint // it makes the records
					Policy:  &retry.Policy{BaseDelay: time.Microsecond, HoldHost: true, Budget: &retry.Budget{Tokens: -1}},
					Breaker: &retry.Breaker{FailureRatio: -1},
					Observe: func(_ context.Context, e retry.Event) { _ = e.Attempt.Code },
				}
				backendURL, err := url.Parse(backend.URL)
				require.NoError(t, err)
				proxy := memhttp.New(&httputil.ReverseProxy{
					Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(backendURL) },
					Transport: tr, FlushInterval: -1, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
				})
				defer proxy.Close()
				clients := []*http.Client{{Transport: tr}, proxy.Client()}
				var callers sync.WaitGroup
				for i := range 8 {
					callers.Go(func() {
						rng := rand.New(rand.NewPCG(uint64(i), 12))
						for range 40 * *rounds {
							callRandomly(t, rng, clients[rng.IntN(2)], backend.URL)
						}
					})
				}
				callers.Wait()
			})
		})
	}
}

// callRandomly makes a call and uses its response as some caller might.
func callRandomly(t *testing.T, rng *rand.Rand, client *http.Client, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), []time.Duration{45 * time.Millisecond, time.Minute}[rng.IntN(2)])
	defer cancel()
	query := fmt.Sprintf("/?status=%d", []int{200, 400, 404, 429, 500, 503}[rng.IntN(6)])
	if rng.IntN(2) == 0 {
		query += "&trailer"
	}
	method := []string{"GET", "POST"}[rng.IntN(2)]
	resp, err := client.Do(request(t, method, url+query, strings.NewReader("x")).WithContext(ctx))
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for name := range resp.Trailer {
		resp.Trailer[name] = nil
	}
	switch rng.IntN(3) {
	case 0:
		_, _ = io.ReadAll(resp.Body)
	case 1:
		_ = apierror.Parse(resp)
	}
}
