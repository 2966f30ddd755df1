package otelprom_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

var discard = slog.New(slog.DiscardHandler)

// The situations, which are the jobs in Prometheus.
const (
	retryStorm = "retry-storm" // two of five attempts fail, and a client retries without a budget
	hotKey     = "hot-key"     // a client sends far more than its limit
	dyingStore = "dying-store" // the store of the limits and of the idempotency keys does not answer
)

// world is a service and its clients. It is calm until its trouble begins.
type world struct {
	job       string
	telemetry *otelseawall.Telemetry
	metrics   *httptest.Server
	service   *httptest.Server
	trouble   atomic.Bool
	broke     chan struct{} // closed when the trouble begins
	requests  sync.Map      // the number of requests of each client, *atomic.Int64
	load      sync.WaitGroup
}

// newWorld starts a world, which ends with the test.
func newWorld(t *testing.T, job string) *world {
	t.Helper()
	telemetry, registry := newTelemetry(t)
	w := &world{job: job, telemetry: telemetry, broke: make(chan struct{})}
	w.metrics = httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	w.service = httptest.NewServer(w.handler())
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() {
		stop()
		w.load.Wait()
		w.service.Close()
		w.metrics.Close()
	})

	w.client(ctx, t, "web", 1, w.retrying("web", &retry.Transport{}))
	script := connections()
	w.client(ctx, t, "script", 1, script)
	switch job {
	case retryStorm:
		w.client(ctx, t, "batch", 1, w.retrying("batch", &retry.Transport{
			Policy:  &retry.Policy{MaxAttempts: 5, Budget: &retry.Budget{Tokens: -1}},
			Breaker: &retry.Breaker{FailureRatio: -1},
		}))
		w.load.Go(func() { w.call(ctx, script, "script", "/charge", "charge") })
	case hotKey:
		w.client(ctx, t, "script", 10, script)
		w.client(ctx, t, "script", 1, w.retrying("polite", &retry.Transport{Policy: &retry.Policy{MaxAttempts: 1, HoldHost: true}}))
	case dyingStore:
		w.load.Go(func() { w.call(ctx, script, "script", "/hold", "hold") })
	}
	return w
}

// begin begins the trouble.
func (w *world) begin() {
	w.trouble.Store(true)
	close(w.broke)
}

func (w *world) end() { w.trouble.Store(false) }

// connections returns a Transport that keeps the connections of its client.
func connections() *http.Transport { return &http.Transport{MaxIdleConnsPerHost: 100} }

func (w *world) retrying(group string, tr *retry.Transport) http.RoundTripper {
	tr.Base, tr.Logger = connections(), discard
	tr.Group = func(*http.Request) string { return group }
	return w.telemetry.Transport(tr)
}

// client sends orders ten times a second. If it sends more than one at a time, it begins with
// the trouble and ends with it.
func (w *world) client(ctx context.Context, t *testing.T, principal string, atATime int, transport http.RoundTripper) {
	t.Cleanup((&http.Client{Transport: transport}).CloseIdleConnections)
	w.load.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if atATime > 1 && !w.trouble.Load() {
				continue
			}
			for i := range atATime {
				key := fmt.Sprintf("%p-%d-%d", transport, n/10*10+n%9, i) // one of ten is a duplicate
				w.load.Go(func() { w.call(ctx, transport, principal, "/orders", key) })
			}
		}
	})
}

func (w *world) call(ctx context.Context, transport http.RoundTripper, principal, path, key string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.service.URL+path, strings.NewReader("{}"))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+principal)
	req.Header.Set("Idempotency-Key", key)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err == nil {
		resp.Body.Close()
	}
}

// handler returns the service.
func (w *world) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /orders", apierror.HandlerFunc(w.order))
	mux.Handle("POST /hold", apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		return w.hold(r.Context())
	}))
	mux.Handle("POST /charge", apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if err := idempotent.BeginEffect(r.Context()); err != nil {
			return err
		}
		return errors.Join(w.hold(r.Context()), errors.New("the bank does not answer"))
	}))
	limiter, store := ratelimit.NewMemory(nil), idempotent.NewMemory(nil)
	w.telemetry.Limiter("api", limiter)
	w.telemetry.Store("api", store)
	return (&seawall.Stack{
		Logger:       discard,
		AccessLog:    &seawall.AccessLogOptions{Observe: w.telemetry.Request},
		Authenticate: authenticate,
		RateLimit: seawall.Chain(
			ratelimit.New(dying{w: w, Limiter: limiter}, &ratelimit.Options{Observe: w.telemetry.RateLimit, OnFailure: ratelimit.FailOpen, Logger: discard},
				ratelimit.Rule{Name: "per_key", Limit: ratelimit.PerSecond(25), Key: ratelimit.ByPrincipal}),
			ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Observe: w.telemetry.RateLimit, Shadow: true, Logger: discard},
				ratelimit.Rule{Name: "new_rule", Limit: ratelimit.PerSecond(22), Key: ratelimit.ByPrincipal}),
		),
		Idempotency: idempotent.New(dying{w: w, Store: store}, idempotent.ByPrincipal,
			&idempotent.Options{Observe: w.telemetry.Idempotency, Logger: discard}),
	}).Handler(mux)
}

func authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		key, _ := seawall.APIKey(r)
		next.ServeHTTP(rw, seawall.WithPrincipal(r, key))
	})
}

func (w *world) order(rw http.ResponseWriter, r *http.Request) error {
	counter, _ := w.requests.LoadOrStore(seawall.Principal(r.Context()), new(atomic.Int64))
	if n := counter.(*atomic.Int64).Add(1) % 5; w.job == retryStorm && w.trouble.Load() && n%2 == 1 {
		return errors.New("the database is overloaded")
	}
	rw.WriteHeader(http.StatusCreated)
	return nil
}

// hold waits for the trouble.
func (w *world) hold(ctx context.Context) error {
	select {
	case <-w.broke:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dying is a limiter or a store that does not answer while a dying store is in trouble.
type dying struct {
	w *world
	ratelimit.Limiter
	idempotent.Store
}

func (d dying) dead() bool { return d.w.job == dyingStore && d.w.trouble.Load() }

var errDead = errors.New("the store does not answer")

// Take implements [ratelimit.Limiter].
func (d dying) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	if d.dead() {
		return ratelimit.Decision{}, errDead
	}
	return d.Limiter.Take(ctx, c)
}

// Acquire implements [idempotent.Store].
func (d dying) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	if d.dead() {
		<-ctx.Done()
		return idempotent.Decision{}, errDead
	}
	return d.Store.Acquire(ctx, c)
}

// Finish implements [idempotent.Store]. The claims of a dead store are lost.
func (d dying) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if d.dead() {
		return idempotent.ErrLost
	}
	return d.Store.Finish(ctx, o, c)
}
