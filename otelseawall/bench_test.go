package otelseawall_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// Whole requests through a Stack, and whole calls of a client: without telemetry, with telemetry
// but no provider, and with an SDK. An SDK that samples nothing costs nearly what no provider does.
func BenchmarkStack(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			h := benchmarkStack(way.telemetry())
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				req := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
				req.Header.Set("Idempotency-Key", strconv.Itoa(i))
				h.ServeHTTP(httptest.NewRecorder(), req)
			}
		})
	}
}

func BenchmarkTransport(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			var client http.RoundTripper = &retry.Transport{Base: answers(http.StatusOK)}
			if telemetry := way.telemetry(); telemetry != nil {
				client = telemetry.Transport(&retry.Transport{Base: answers(http.StatusOK)})
			}
			req := httptest.NewRequest(http.MethodGet, "http://api.example/v1/resources", nil)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
			}
		})
	}
}

var ways = []struct {
	name      string
	telemetry func() *otelseawall.Telemetry
}{
	{"without", func() *otelseawall.Telemetry { return nil }},
	{"no provider", func() *otelseawall.Telemetry { return otelseawall.New(nil) }},
	{"metrics", func() *otelseawall.Telemetry {
		return otelseawall.New(&otelseawall.Options{
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
			TracerProvider: tracenoop.NewTracerProvider(),
		})
	}},
	{"metrics and spans", func() *otelseawall.Telemetry {
		return otelseawall.New(&otelseawall.Options{
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
			TracerProvider: sdktrace.NewTracerProvider(),
		})
	}},
}

// benchmarkStack returns a service, with telemetry unless it is nil.
func benchmarkStack(t *otelseawall.Telemetry) http.Handler {
	access, limit, keyed := &seawall.AccessLogOptions{}, &ratelimit.Options{}, &idempotent.Options{Logger: discard}
	if t != nil {
		access.Observe, limit.Observe, keyed.Observe = t.Request, t.RateLimit, t.Idempotency
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/resources", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	return (&seawall.Stack{
		Logger:      discard,
		AccessLog:   access,
		RateLimit:   ratelimit.New(ratelimit.NewMemory(nil), limit, ratelimit.Rule{Limit: ratelimit.PerSecond(1e9), Key: ratelimit.ByRemoteAddr}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.Global, keyed),
	}).Handler(mux)
}
