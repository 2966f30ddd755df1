package otelseawall_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// get makes a call.
func get(t *testing.T, tr http.RoundTripper, ctx context.Context, url string) (*http.Response, error) { //nolint:revive // t is first
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// Transport copies the fields of a retry.Transport. A new one must be copied too.
func TestTransportKnowsEveryField(t *testing.T) {
	t.Parallel()
	var exported []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[retry.Transport]()) {
		if f.IsExported() {
			exported = append(exported, f.Name)
		}
	}
	require.Equal(t, []string{"Base", "Policy", "Breaker", "Group", "Pace", "Observe", "Logger"}, exported)
}

func TestTransportCanBeGivenTwice(t *testing.T) {
	t.Parallel()
	var events []retry.Kind
	tr := &retry.Transport{
		Base: answers(http.StatusOK), Logger: discard, Group: func(*http.Request) string { return "mine" },
		Observe: func(_ context.Context, e retry.Event) { events = append(events, e.Kind) },
	}
	r := newRecorder(0)
	r.Transport(tr)
	_, err := get(t, r.Transport(tr), t.Context(), "http://api.example/")
	require.NoError(t, err)
	require.Len(t, r.spans.GetSpans(), 2)
	require.Len(t, events, 2)
	require.Nil(t, tr.Breaker)
	require.Equal(t, answers(http.StatusOK), tr.Base)
	require.Contains(t, r.report(t), `seawall.retry.attempts{http.request.method="GET",seawall.retry.group="mine"} 1`)

	_, err = get(t, tr, t.Context(), "http://api.example/")
	require.NoError(t, err)
	require.Len(t, r.spans.GetSpans(), 2, "tr itself is not observed")
}

// A Transport whose Base is another one has its own spans.
func TestNestedTransportsHaveTheirOwnSpans(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	inner := r.Transport(&retry.Transport{Base: answers(http.StatusServiceUnavailable), Policy: &retry.Policy{BaseDelay: -1, MaxAttempts: 2}, Logger: discard})
	outer := r.Transport(&retry.Transport{Base: inner, Logger: discard})
	_, err := get(t, outer, t.Context(), "http://api.example/")
	require.NoError(t, err)
	require.Regexp(t, `(?s)^span internal retry GET.*
  span client GET.*
    span internal retry GET.*
      span client GET.*
      span client GET.*`, r.report(t))
	require.Len(t, r.spans.GetSpans(), 5)
}

// The budget is the same with telemetry and without: WithPolicy uses the Transport's own.
func TestCallsWithTheirOwnPolicyUseTheSameBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(0)
		tr := r.Transport(&retry.Transport{Base: answers(http.StatusServiceUnavailable), Policy: &retry.Policy{BaseDelay: -1}, Logger: discard})
		ctx := retry.WithPolicy(t.Context(), &retry.Policy{MaxAttempts: 4, BaseDelay: -1})
		for _, ctx := range []context.Context{t.Context(), ctx} {
			_, err := get(t, tr, ctx, "http://api.example/")
			require.NoError(t, err)
		}
		require.Contains(t, r.report(t), `seawall.retry.budget.tokens{seawall.retry.group="http://api.example:80"} 5.00`)
	})
}

func TestBudgetOfAPolicyInAContextIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(0)
		policy := retry.Policy{Budget: &retry.Budget{Tokens: 50}}
		tr := r.Transport(&retry.Transport{Base: answers(http.StatusServiceUnavailable), Policy: &policy, Logger: discard})
		_, err := get(t, tr, retry.WithoutRetry(t.Context()), "http://a.example/")
		require.NoError(t, err)
		_, err = get(t, tr, retry.WithPolicy(t.Context(), &retry.Policy{BaseDelay: -1}), "http://b.example/")
		require.NoError(t, err)
		report := r.report(t)
		require.Contains(t, report, `seawall.retry.budget.tokens{seawall.retry.group="http://a.example:80"} 50.00`)
		require.Contains(t, report, `seawall.retry.budget.tokens{seawall.retry.group="http://b.example:80"} 8.00`)
	})
}

func TestSharedBreakerIsReportedOnce(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	breaker := new(retry.Breaker)
	for range 2 {
		_, err := get(t, r.Transport(&retry.Transport{Base: answers(http.StatusOK), Breaker: breaker, Logger: discard}), t.Context(), "http://api.example/")
		require.NoError(t, err)
	}
	require.Contains(t, r.report(t), `seawall.retry.circuits{seawall.retry.circuit.state="closed",seawall.retry.group="http://api.example:80"} 1`)
}

// http.Client never sends such requests, but other callers might.
func TestInvalidRequestsAreLeftToBase(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]*http.Request{
		"no URL":    {Method: http.MethodGet, Header: make(http.Header)},
		"no header": httptest.NewRequest(http.MethodGet, "http://127.0.0.1:0/", nil),
	} {
		if name == "no header" {
			req.Header = nil
		}
		tr := newRecorder(0).Transport(&retry.Transport{Base: new(http.Transport), Logger: discard})
		resp, err := tr.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		require.ErrorContains(t, err, "http: nil Request.", name)
	}
}

// A caller gets the same request back as without telemetry.
func TestRequestOfResponseIsTheCallers(t *testing.T) {
	t.Parallel()
	tr := newRecorder(0).Transport(&retry.Transport{
		Base: answers(http.StatusOK), Policy: &retry.Policy{AttemptTimeout: time.Minute}, Logger: discard,
	})
	resp, err := get(t, tr, t.Context(), "http://api.example/")
	require.NoError(t, err)
	require.Empty(t, resp.Request.Header)
	require.NoError(t, resp.Request.Context().Err(), "the context of the attempt has ended")
}

// sampler keeps what it was asked.
type sampler struct{ asked [][]attribute.KeyValue }

func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.asked = append(s.asked, p.Attributes)
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
}
func (*sampler) Description() string { return "test" }

func TestSamplerIsAskedWithTheAttributesOfTheRequest(t *testing.T) {
	t.Parallel()
	asked := new(sampler)
	exporter := tracetest.NewInMemoryExporter()
	telemetry := otelseawall.New(&otelseawall.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(asked), sdktrace.WithSyncer(exporter)),
		Propagator:     propagation.TraceContext{},
	})
	require.Empty(t, asked.asked, "New begins no span")
	_, err := get(t, telemetry.Transport(&retry.Transport{Base: answers(http.StatusOK), Logger: discard}), t.Context(), "https://api.example/v1")
	require.NoError(t, err)
	require.Len(t, asked.asked, 2)
	for _, attrs := range asked.asked {
		require.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("http.request.method", "GET"),
			attribute.String("server.address", "api.example"),
			attribute.Int("server.port", 443),
			attribute.String("url.full", "https://api.example/v1"),
		}, attrs)
	}
	require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", exporter.GetSpans()[0].InstrumentationScope.SchemaURL)
}

func TestErrorTypes(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"connection refused": &net.OpError{Op: "dial", Err: &net.OpError{Op: "connect", Err: syscall.ECONNREFUSED}},
		"*net.DNSError":      &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}},
		"timeout":            &net.OpError{Op: "read", Err: context.DeadlineExceeded},
		"canceled":           fmt.Errorf("read: %w", context.Canceled),
	} {
		r := newRecorder(0)
		tr := r.Transport(&retry.Transport{
			Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, err }), Policy: &retry.Policy{MaxAttempts: 1}, Logger: discard,
		})
		_, err := get(t, tr, t.Context(), "http://api.example/")
		require.Error(t, err)
		for _, span := range r.spans.GetSpans() {
			require.Contains(t, span.Attributes, attribute.String("error.type", want))
		}
	}
}

// Exporters refuse a whole batch in which one string is not UTF-8.
func TestStringsAreShortAndUTF8(t *testing.T) {
	t.Parallel()
	bad := "\xff" + strings.Repeat("x", 100_000)
	r := newRecorder(0)
	ctx, span := r.tracer.Tracer("test").Start(t.Context(), "request")
	r.Request(ctx, seawall.Event{
		Method: bad, Pattern: "GET /" + bad, Status: 500, RequestID: bad, Code: apierror.Code(bad), Type: apierror.Type(bad),
		LateCode: apierror.Code(bad), Replayed: true, OriginalRequest: bad,
	})
	r.RateLimit(ctx, ratelimit.Event{Rule: bad, Outcome: ratelimit.OutcomeDenied})
	r.Idempotency(ctx, idempotent.Event{Outcome: idempotent.Outcome(bad)})
	r.Limiter(bad, ratelimit.NewMemory(nil))
	span.End()
	failing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, unnamed{bad} })
	tr := r.Transport(&retry.Transport{Base: failing, Logger: discard, Group: func(*http.Request) string { return bad }})
	req := httptest.NewRequest(http.MethodGet, "http://api.example/", nil)
	req.Method, req.URL.Host, req.URL.Path = bad, bad, bad
	resp, err := tr.RoundTrip(req)
	require.Error(t, err)
	require.Nil(t, resp)

	checked := 0
	check := func(attrs []attribute.KeyValue) {
		for _, a := range attrs {
			require.True(t, utf8.ValidString(a.Value.String()), "%s: %.100q", a.Key, a.Value.String())
			require.Less(t, len(a.Value.String()), 5_000, a.Key)
			checked++
		}
	}
	for _, s := range r.spans.GetSpans() {
		check(s.Attributes)
	}
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &collected))
	for _, m := range collected.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				check(p.Attributes.ToSlice())
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				check(p.Attributes.ToSlice())
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				check(p.Attributes.ToSlice())
			}
		}
	}
	require.Greater(t, checked, 40)
}

// unnamed is an error that names its own type.
type unnamed struct{ kind string }

func (unnamed) Error() string       { return "unnamed" }
func (u unnamed) ErrorType() string { return u.kind }

// The attributes of metrics have the types of the semantic conventions, as those of otelhttp have.
func TestAttributesHaveTheirTypes(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	r.Request(t.Context(), seawall.Event{Status: 404, Code: apierror.CodeResourceMissing})
	r.RateLimit(t.Context(), ratelimit.Event{Rule: "api", Outcome: ratelimit.OutcomeDenied, Shadow: true})
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &collected))
	var values []attribute.Value
	for _, m := range collected.ScopeMetrics[0].Metrics {
		attrs := m.Data.(metricdata.Sum[int64]).DataPoints[0].Attributes
		for _, key := range []attribute.Key{"http.response.status_code", "seawall.ratelimit.shadow"} {
			if v, ok := attrs.Value(key); ok {
				values = append(values, v)
			}
		}
	}
	require.ElementsMatch(t, []attribute.Value{attribute.IntValue(404), attribute.BoolValue(true)}, values)
}

// In shadow mode, a rule denies nothing.
func TestSpanNamesTheRuleThatDenied(t *testing.T) {
	t.Parallel()
	denied := ratelimit.Event{Rule: "api", Outcome: ratelimit.OutcomeDenied}
	shadow, other, failed := denied, denied, ratelimit.Event{Rule: "api", Outcome: ratelimit.OutcomeFailed}
	shadow.Shadow = true
	other.Decision.Allowed = true
	for _, e := range []ratelimit.Event{shadow, other, failed} {
		require.Empty(t, spanOf(t, func(ctx context.Context, r *recorder) { r.RateLimit(ctx, e) }))
	}
	require.Equal(t, []attribute.KeyValue{attribute.String("seawall.ratelimit.rule", "api")},
		spanOf(t, func(ctx context.Context, r *recorder) { r.RateLimit(ctx, denied) }))
}

// spanOf returns the attributes that f adds to the span of its context.
func spanOf(t *testing.T, f func(context.Context, *recorder)) []attribute.KeyValue {
	t.Helper()
	r := newRecorder(0)
	ctx, span := r.tracer.Tracer("test").Start(t.Context(), "request")
	f(ctx, r)
	span.End()
	return r.spans.GetSpans()[0].Attributes
}

// Requests may come after the SDK was shut down, and tests may have no context.
func TestTelemetryWorksAfterShutdown(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	telemetry := otelseawall.New(&otelseawall.Options{MeterProvider: meters, TracerProvider: tracers})
	client := telemetry.Transport(&retry.Transport{Base: answers(http.StatusOK), Logger: discard})
	require.NoError(t, errors.Join(tracers.Shutdown(t.Context()), meters.Shutdown(t.Context())))
	for _, ctx := range []context.Context{t.Context(), nil} {
		telemetry.Request(ctx, seawall.Event{Code: "api_error", Status: 500, Replayed: true})
		telemetry.RateLimit(ctx, ratelimit.Event{Outcome: ratelimit.OutcomeDenied})
		telemetry.Idempotency(ctx, idempotent.Event{Lost: true})
	}
	telemetry.Limiter("api", ratelimit.NewMemory(nil))
	_, err := get(t, client, t.Context(), "http://api.example/")
	require.NoError(t, err)
	require.Empty(t, exporter.GetSpans())
}

// http.Client makes a call for each redirect. A write keeps its key, as without telemetry.
func TestRedirectKeepsTheKey(t *testing.T) {
	t.Parallel()
	r := newRecorder(0)
	var keys []string
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		keys = append(keys, req.Header.Get("Idempotency-Key"))
		resp, err := answers(http.StatusOK).RoundTrip(req)
		if req.URL.Path == "/" {
			resp.StatusCode = http.StatusTemporaryRedirect
			resp.Header.Set("Location", "/moved")
		}
		return resp, err
	})
	client := &http.Client{Transport: r.Transport(&retry.Transport{Base: base, Logger: discard})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.example/", strings.NewReader("body"))
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Len(t, keys, 2)
	require.NotEmpty(t, keys[0])
	require.Equal(t, keys[0], keys[1])
	require.Equal(t, keys[0], resp.Request.Header.Get("Idempotency-Key"))
	require.Regexp(t, `(?s)^span internal retry POST.*
  span client POST.*
span internal retry POST.*
  span client POST.*`, r.report(t))
	require.Len(t, r.spans.GetSpans(), 4)
}

// For the race detector, while metrics are collected and clients are made.
func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	r := newRecorder(5)
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		if len(req.URL.Path)%2 == 0 {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		return answers(http.StatusServiceUnavailable).RoundTrip(req)
	})
	policy := &retry.Policy{BaseDelay: -1, AttemptTimeout: time.Millisecond, Budget: &retry.Budget{Tokens: -1}}
	shared := r.Transport(&retry.Transport{Base: base, Policy: policy, Breaker: &retry.Breaker{FailureRatio: -1}, Logger: discard})
	const workers, calls = 8, 20
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			r.Transport(&retry.Transport{})
			for i := range calls {
				req := httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://host%d.example/%s", w, strings.Repeat("x", i)), nil)
				if resp, err := shared.RoundTrip(req); err == nil {
					resp.Body.Close()
				}
				var collected metricdata.ResourceMetrics
				if err := r.reader.Collect(t.Context(), &collected); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	spans := r.spans.GetSpans()
	require.Len(t, spans, workers*calls*4, "a span for each call and for its three attempts")
	ids := make(map[trace.SpanID]bool)
	for _, s := range spans {
		require.False(t, ids[s.SpanContext.SpanID()], "ended twice")
		ids[s.SpanContext.SpanID()] = true
		require.Equal(t, codes.Error, s.Status.Code)
	}
}
