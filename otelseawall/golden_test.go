package otelseawall_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

var update = flag.Bool("update", false, "write the golden files")

// world is a service and a client, both with telemetry.
type world struct {
	*recorder
	limiter   ratelimit.Limiter
	burst     int
	fail      ratelimit.Fail
	transport *retry.Transport
	client    *http.Client
	url       string
	requests  int
	failures  atomic.Int64 // the next requests to /flaky that fail
}

// scenarios are what the golden files are about.
var scenarios = []struct {
	name string
	set  func(*world) // before the client is used
	run  func(*testing.T, *world)
}{
	{"success", nil, func(t *testing.T, w *world) { w.call(t, "GET", "/things/1", "") }},
	{"three_attempts", nil, func(t *testing.T, w *world) {
		w.failures.Store(2)
		w.call(t, "POST", "/flaky", "k")
	}},
	{"budget_exhausted", func(w *world) {
		w.transport.Policy.Budget = &retry.Budget{Tokens: 1, PerSecond: -1}
	}, func(t *testing.T, w *world) {
		w.failures.Store(9)
		w.call(t, "GET", "/flaky", "")
	}},
	{"circuit_open", func(w *world) {
		w.transport.Breaker = &retry.Breaker{MinCalls: 1}
		w.transport.Policy.MaxAttempts = 1
	}, func(t *testing.T, w *world) {
		w.failures.Store(9)
		w.call(t, "GET", "/flaky", "")
		w.call(t, "GET", "/flaky", "")
	}},
	{"denied", func(w *world) {
		w.burst = 1
		w.transport.Policy.MaxAttempts = 1
	}, func(t *testing.T, w *world) {
		w.call(t, "GET", "/things/1", "")
		w.call(t, "GET", "/things/1", "")
	}},
	{"bypassed", func(w *world) { w.limiter, w.fail = brokenLimiter{}, ratelimit.FailOpen }, func(t *testing.T, w *world) {
		w.call(t, "GET", "/things/1", "")
	}},
	{"replayed", nil, func(t *testing.T, w *world) {
		w.call(t, "POST", "/things/1", "k")
		w.call(t, "POST", "/things/1", "k")
	}},
	{"conflict", nil, func(t *testing.T, w *world) {
		w.call(t, "POST", "/things/1", "k")
		w.call(t, "POST", "/things/2", "k")
	}},
	{"waited", nil, func(t *testing.T, w *world) {
		first := make(chan struct{})
		go func() {
			defer close(first)
			w.call(t, "POST", "/slow", "k")
		}()
		synctest.Wait()
		time.Sleep(2 * time.Second)
		w.call(t, "POST", "/slow", "k")
		<-first
	}},
	{"outcome_unknown", func(w *world) { w.transport.Policy.MaxAttempts = 1 }, func(t *testing.T, w *world) {
		w.call(t, "POST", "/unknown", "k")
		w.call(t, "POST", "/unknown", "k")
	}},
	{"panic", func(w *world) { w.transport.Policy.MaxAttempts = 1 }, func(t *testing.T, w *world) {
		w.call(t, "GET", "/panic", "")
	}},
	{"held", func(w *world) {
		w.transport.Policy.HoldHost = true
		w.transport.Policy.MaxAttempts = 1
	}, func(t *testing.T, w *world) {
		w.failures.Store(1)
		w.call(t, "GET", "/busy", "")
		w.call(t, "GET", "/busy", "")
	}},
	{"retry_after", nil, func(t *testing.T, w *world) {
		w.failures.Store(1)
		w.call(t, "GET", "/busy", "")
	}},
	{"no_connection", func(w *world) {
		w.transport.Base = broken{}
		w.transport.Policy.MaxAttempts = 2
	}, func(t *testing.T, w *world) {
		w.call(t, "GET", "/things/1", "")
	}},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &world{
					recorder:  newRecorder(0),
					limiter:   ratelimit.NewMemory(nil),
					burst:     10,
					transport: &retry.Transport{Policy: &retry.Policy{BaseDelay: -1}, Logger: discard},
				}
				if s.set != nil {
					s.set(w)
				}
				server := memhttp.New(w.handler())
				defer server.Close()
				w.url = server.URL
				if w.transport.Base == nil {
					w.transport.Base = server.Transport()
				}
				w.client = &http.Client{Transport: w.Transport(w.transport)}
				s.run(t, w)
				synctest.Wait()
				compare(t, s.name, w.report(t))
			})
		})
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// call makes a call, whose requests have the id of its number.
func (w *world) call(t *testing.T, method, path, key string) {
	w.requests++
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path+"?secret=1", strings.NewReader(""))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("X-Request-Id", "req_"+string(rune('0'+w.requests)))
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := w.client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
}

// handler returns the service: otelhttp around a Stack.
func (w *world) handler() http.Handler {
	mux := http.NewServeMux()
	created := func(rw http.ResponseWriter, _ *http.Request) error {
		rw.WriteHeader(http.StatusCreated)
		return nil
	}
	mux.Handle("/things/{id}", apierror.HandlerFunc(created))
	mux.Handle("POST /slow", apierror.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) error {
		time.Sleep(5 * time.Second)
		return created(rw, r)
	}))
	mux.Handle("/flaky", apierror.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) error {
		if w.failures.Add(-1) >= 0 {
			return errors.New("the database is gone")
		}
		return created(rw, r)
	}))
	mux.Handle("/busy", apierror.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) error {
		if w.failures.Add(-1) >= 0 {
			return apierror.ServiceUnavailable(3 * time.Second)
		}
		return created(rw, r)
	}))
	mux.Handle("POST /unknown", apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if err := idempotent.BeginEffect(r.Context()); err != nil {
			return err
		}
		return errors.New("the bank does not answer")
	}))
	mux.Handle("/panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }))
	everyone := func(*http.Request) (string, error) { return "everyone", nil }
	return w.traced((&seawall.Stack{
		Logger:    discard,
		RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return true }},
		AccessLog: &seawall.AccessLogOptions{Observe: w.Request},
		RateLimit: ratelimit.New(w.limiter, &ratelimit.Options{Observe: w.RateLimit, OnFailure: w.fail, Logger: discard},
			ratelimit.Rule{Name: "api", Limit: ratelimit.Limit{Quota: 1, Window: time.Second, Burst: w.burst}, Key: everyone}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Observe: w.Idempotency, Logger: discard}),
	}).Handler(mux))
}

type brokenLimiter struct{}

func (brokenLimiter) Take(context.Context, ratelimit.Charge) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, errors.New("redis is gone")
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}
