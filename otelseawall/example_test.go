package otelseawall_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// A service counts the requests that its limit denies. Its providers are usually the global ones,
// which need no Options.
func Example() {
	reader := sdkmetric.NewManualReader()
	telemetry := otelseawall.New(&otelseawall.Options{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	})
	logger := slog.New(slog.DiscardHandler)
	stack := &seawall.Stack{
		Logger:    logger,
		AccessLog: &seawall.AccessLogOptions{Observe: telemetry.Request},
		RateLimit: ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Observe: telemetry.RateLimit},
			ratelimit.Rule{Name: "api", Limit: ratelimit.PerMinute(2), Key: ratelimit.ByRemoteAddr}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.Global,
			&idempotent.Options{Observe: telemetry.Idempotency, Logger: logger}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/resources", func(http.ResponseWriter, *http.Request) {})
	handler := stack.Handler(mux)
	for range 3 {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/resources", nil))
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, p := range sum.DataPoints {
				outcome, _ := p.Attributes.Value("seawall.ratelimit.outcome")
				code, _ := p.Attributes.Value("seawall.error.code")
				fmt.Println(m.Name, outcome.AsString()+code.AsString(), p.Value)
			}
		}
	}
	// Unordered output:
	// seawall.ratelimit.requests allowed 2
	// seawall.ratelimit.requests denied 1
	// seawall.server.errors rate_limit_exceeded 1
}
