//go:build !race

package otelseawall_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// Without a provider, nothing is allocated for a request.
func TestWithoutProviderAlloc(t *testing.T) {
	telemetry := otelseawall.New(nil)
	ctx := t.Context()
	request := seawall.Event{Pattern: "GET /", Status: 500, Code: "api_error", Type: apierror.TypeAPI, RequestID: "req_1"}
	limit := ratelimit.Event{Rule: "api", Outcome: ratelimit.OutcomeDenied}
	keyed := idempotent.Event{Outcome: idempotent.OutcomeReplayed, Waited: time.Second, Lost: true}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		telemetry.Request(ctx, request)
		telemetry.RateLimit(ctx, limit)
		telemetry.Idempotency(ctx, keyed)
	}))
}

func TestStackWithoutProviderAlloc(t *testing.T) {
	measure := func(h http.Handler) float64 {
		i := 0
		return testing.AllocsPerRun(200, func() {
			i++
			req := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
			req.Header.Set("Idempotency-Key", strconv.Itoa(i))
			h.ServeHTTP(httptest.NewRecorder(), req)
		})
	}
	require.InDelta(t, measure(benchmarkStack(nil)), measure(benchmarkStack(otelseawall.New(nil))), 0.5)
}

// A call costs one allocation more, for the events of its Transport.
func TestCallWithoutProviderAlloc(t *testing.T) {
	measure := func(tr http.RoundTripper) float64 {
		req := httptest.NewRequest(http.MethodGet, "http://api.example/", nil)
		return testing.AllocsPerRun(200, func() {
			resp, err := tr.RoundTrip(req)
			require.NoError(t, err)
			resp.Body.Close()
		})
	}
	tr := &retry.Transport{Base: answers(http.StatusOK)}
	// Other tests may have set the global providers.
	telemetry := otelseawall.New(&otelseawall.Options{
		MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
	})
	require.LessOrEqual(t, measure(telemetry.Transport(tr)), measure(tr)+1)
}
