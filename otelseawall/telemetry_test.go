package otelseawall_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// Whatever clients and services do, an attribute has a bounded number of values.
func TestValuesOfAttributesAreBounded(t *testing.T) {
	t.Parallel()
	r := newRecorder(3)
	tr := &retry.Transport{Base: answers(http.StatusOK), Logger: discard}
	client := &http.Client{Transport: r.Transport(tr)}
	for i := range 10 {
		n := fmt.Sprint(i)
		r.Request(t.Context(), seawall.Event{Pattern: "GET /" + n, Code: apierror.Code("code_" + n), Type: apierror.TypeAPI, Status: 500, Replayed: true})
		r.RateLimit(t.Context(), ratelimit.Event{Rule: "rule" + n, Outcome: ratelimit.OutcomeAllowed})
		r.Idempotency(t.Context(), idempotent.Event{Outcome: idempotent.Outcome("outcome" + n)})
		req, err := http.NewRequestWithContext(t.Context(), "METHOD"+n, "http://host"+n+".example/", nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
	}
	report := r.report(t)
	for _, line := range []string{
		`seawall.server.errors{http.response.status_code="500",http.route="_OTHER",seawall.error.code="_OTHER",seawall.error.type="api_error"} 7`,
		`seawall.server.replays{http.route="_OTHER"} 7`,
		`seawall.ratelimit.requests{seawall.ratelimit.outcome="allowed",seawall.ratelimit.rule="_OTHER"} 7`,
		`seawall.idempotency.requests{seawall.idempotency.outcome="_OTHER"} 7`,
		`seawall.retry.calls{http.request.method="_OTHER",seawall.retry.group="_OTHER",seawall.retry.reason="succeeded"} 7`,
		`seawall.retry.budget.tokens{seawall.retry.group="_OTHER"} 10.00`,
		`seawall.retry.circuits{seawall.retry.circuit.state="closed",seawall.retry.group="_OTHER"} 7`,
	} {
		require.Contains(t, report, line+"\n")
	}
	require.Contains(t, report, "http.request.method_original=METHOD9")
	for _, value := range []string{`"/9"`, `code_9`, `rule9`, `outcome9`, `group="http://host9`} {
		require.NotContains(t, report, value)
	}
}

// answers is a base that answers each request with this status.
type answers int

func (status answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(status), Header: make(http.Header), Body: http.NoBody, Request: r}, nil
}

func TestSpansHoldNoSecret(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	client := &http.Client{Transport: r.Transport(&retry.Transport{Base: answers(http.StatusOK), Logger: discard})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://hush:hush@api.example:8443/v1/things?key=hush#hush", strings.NewReader("hush"))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer hush")
	req.Header.Set("Idempotency-Key", "hush")
	resp, err := client.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	report := r.report(t)
	require.Contains(t, report, "url.full=https://api.example:8443/v1/things\n")
	require.Contains(t, report, "server.port=8443\n")
	require.NotContains(t, report, "hush")
}

// The span of the service is below that of the attempt that reached it.
func TestAttemptsPropagateTheirSpan(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	var parents []string
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		parents = append(parents, req.Header.Get("Traceparent"))
		require.Contains(t, parents[len(parents)-1], trace.SpanContextFromContext(req.Context()).SpanID().String())
		return answers(http.StatusServiceUnavailable).RoundTrip(req)
	})
	client := &http.Client{Transport: r.Transport(&retry.Transport{Base: base, Policy: &retry.Policy{BaseDelay: -1}, Logger: discard})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/", nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Len(t, parents, 3)
	require.NotEqual(t, parents[0], parents[1])
	require.Empty(t, req.Header, "the caller's request is not changed")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSpansEndWhateverBaseDoes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		base   roundTripper
		policy retry.Policy
		want   string // in the report
	}{
		"panics":   {func(*http.Request) (*http.Response, error) { panic("a bug") }, retry.Policy{}, "error.type=panic"},
		"canceled": {func(*http.Request) (*http.Response, error) { return nil, context.Canceled }, retry.Policy{MaxAttempts: 1}, "error.type=canceled"},
		"times out": {func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}, retry.Policy{MaxAttempts: 1, AttemptTimeout: time.Minute}, "error.type=timeout"},
		"typed error": {func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("dial: %w", &typedError{})
		}, retry.Policy{MaxAttempts: 1}, "error.type=*otelseawall_test.typedError"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRecorder(0)
			tr := r.Transport(&retry.Transport{Base: tt.base, Policy: &tt.policy, Logger: discard})
			func() {
				defer func() { _ = recover() }()
				req := httptest.NewRequest(http.MethodGet, "http://api.example/", nil)
				resp, err := tr.RoundTrip(req.WithContext(t.Context()))
				if err == nil {
					resp.Body.Close()
				}
			}()
			report := r.report(t)
			require.Contains(t, report, tt.want, name)
			require.Equal(t, 2, strings.Count(report, "span "), "%s: %s", name, report)
		})
	}
}

type typedError struct{}

func (*typedError) Error() string { return "typed" }

func TestTransportKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	var events []retry.Kind
	budget, breaker := new(retry.Budget), new(retry.Breaker)
	policy := &retry.Policy{MaxAttempts: 1, Budget: budget}
	tr := &retry.Transport{
		Base: answers(http.StatusNotFound), Policy: policy, Breaker: breaker, Logger: discard,
		Observe: func(_ context.Context, e retry.Event) { events = append(events, e.Kind) },
	}
	client := &http.Client{Transport: newRecorder(0).Transport(tr)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/", nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, []retry.Kind{retry.KindAttempt, retry.KindCall}, events)
	require.Same(t, budget, tr.Policy.Budget)
	require.Same(t, breaker, tr.Breaker)
	require.Equal(t, 1, tr.Policy.MaxAttempts)
	require.Equal(t, retry.Policy{MaxAttempts: 1, Budget: budget}, *policy)

	closed := false
	base := &closer{answers(http.StatusOK), &closed}
	(&http.Client{Transport: newRecorder(0).Transport(&retry.Transport{Base: base})}).CloseIdleConnections()
	require.True(t, closed)
}

type closer struct {
	http.RoundTripper
	closed *bool
}

func (c *closer) CloseIdleConnections() { *c.closed = true }

func TestMemoryIsReported(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	limiter := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1})
	store := idempotent.NewMemory(nil)
	r.Limiter("api", limiter)
	r.Store("api", store)
	h := idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "done")
	}))
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(nil))
	req.Header.Set("Idempotency-Key", "k")
	h.ServeHTTP(httptest.NewRecorder(), req)
	for _, key := range []string{"a", "b"} {
		_, err := limiter.Take(t.Context(), ratelimit.Charge{Rule: "r", Key: key, Limit: ratelimit.PerHour(1), Cost: 1})
		require.NoError(t, err)
	}
	r.Store("api", idempotent.NewMemory(nil)) // with the same name: the numbers are added
	report := r.report(t)
	require.Contains(t, report, `seawall.idempotency.records{seawall.name="api"} 1`)
	require.Contains(t, report, fmt.Sprintf(`seawall.idempotency.size{seawall.name="api"} %d`, store.Stats().Bytes))
	require.Contains(t, report, fmt.Sprintf(`seawall.ratelimit.keys{seawall.name="api"} %d`, limiter.Stats().Keys))
	require.Contains(t, report, fmt.Sprintf(`seawall.ratelimit.evictions{seawall.name="api"} %d`, limiter.Stats().Evicted))
}

func TestNegativeMaxValuesPanics(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t, "otelseawall: Options.MaxValues is negative", func() { otelseawall.New(&otelseawall.Options{MaxValues: -1}) })
	require.NotPanics(t, func() { otelseawall.New(nil) })
}

// global records the spans of the global provider, which can be set once.
var global = newRecorder(0)

// Services often set the global provider after they have made their clients.
func TestGlobalProviderMayBeSetLater(t *testing.T) { //nolint:paralleltest // others would make global spans too
	client := &http.Client{Transport: otelseawall.New(nil).Transport(&retry.Transport{Base: answers(http.StatusOK), Logger: discard})}
	spans := func() int {
		before := len(global.spans.GetSpans())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/", nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		return len(global.spans.GetSpans()) - before
	}
	if otel.GetTracerProvider() != global.tracer {
		require.Zero(t, spans())
	}
	otel.SetTracerProvider(global.tracer)
	require.Equal(t, 2, spans())
}

func TestKeptCombinationsOfAttributesAreBounded(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	for i := range 60 {
		for j := range 60 {
			r.RateLimit(t.Context(), ratelimit.Event{Rule: fmt.Sprint(i), Outcome: ratelimit.Outcome(fmt.Sprint(j))})
		}
	}
	require.Equal(t, 2000, otelseawall.KnownSeries(r.Telemetry))
	require.Contains(t, r.report(t), "seawall.ratelimit.requests{otel.metric.overflow=")
}

// A rule that allowed a request is not blamed for the denial by another, and a limiter that fails
// is seen whatever OnFailure does.
func TestRulesAreCountedByTheirOwnDecisions(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	one := func(*http.Request) (string, error) { return "one", nil }
	serve := func(l ratelimit.Limiter, rules ...ratelimit.Rule) {
		limit := ratelimit.New(l, &ratelimit.Options{Observe: r.RateLimit, Logger: discard}, rules...)
		limit(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	limiter := ratelimit.NewMemory(nil)
	for range 2 {
		serve(limiter, ratelimit.Rule{Name: "wide", Limit: ratelimit.PerHour(9), Key: one}, ratelimit.Rule{Name: "narrow", Limit: ratelimit.PerHour(1), Key: one})
	}
	serve(brokenLimiter{}, ratelimit.Rule{Name: "broken", Key: one}) // FailLocal
	report := r.report(t)
	for _, line := range []string{
		`seawall.ratelimit.requests{seawall.ratelimit.outcome="allowed",seawall.ratelimit.rule="wide"} 2`,
		`seawall.ratelimit.requests{seawall.ratelimit.outcome="allowed",seawall.ratelimit.rule="narrow"} 1`,
		`seawall.ratelimit.requests{seawall.ratelimit.outcome="denied",seawall.ratelimit.rule="narrow"} 1`,
		`seawall.ratelimit.requests{seawall.ratelimit.outcome="allowed",seawall.ratelimit.rule="broken"} 1`,
		`seawall.ratelimit.failures{seawall.ratelimit.rule="broken"} 1`,
	} {
		require.Contains(t, report, line+"\n")
	}
	require.NotContains(t, report, `failures{seawall.ratelimit.rule="wide"}`)
}
