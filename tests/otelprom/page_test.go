package otelprom_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// adopt is the code of docs/TELEMETRY.md. It returns the service and the client.
func adopt(mux *http.ServeMux, limiter *ratelimit.Memory, store *idempotent.Memory, rule ratelimit.Rule) (http.Handler, *http.Client, error) {
	reader, err := exporter.New()
	if err != nil {
		return nil, nil, err
	}
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	mux.Handle("GET /metrics", promhttp.Handler())

	telemetry := otelseawall.New(nil) // with the global providers
	stack := &seawall.Stack{
		AccessLog: &seawall.AccessLogOptions{Observe: telemetry.Request},
		RateLimit: ratelimit.New(limiter, &ratelimit.Options{Observe: telemetry.RateLimit}, rule),
		Idempotency: idempotent.New(store, idempotent.ByPrincipal,
			&idempotent.Options{Observe: telemetry.Idempotency}),
	}
	telemetry.Limiter("api", limiter) // only if it is in memory
	telemetry.Store("api", store)     // only if it is in memory
	client := &http.Client{Transport: telemetry.Transport(&retry.Transport{})}
	return stack.Handler(mux), client, nil
}

func TestAdoptedServiceHasMetrics(t *testing.T) {
	t.Parallel()
	rule := ratelimit.Rule{Limit: ratelimit.PerSecond(1), Key: ratelimit.ByRemoteAddr}
	handler, client, err := adopt(http.NewServeMux(), ratelimit.NewMemory(nil), idempotent.NewMemory(nil), rule)
	require.NoError(t, err)
	require.NotNil(t, client)
	get := func(path string) string {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return answer.Body.String()
	}
	get("/nothing")
	get("/nothing")                     // is over the limit
	require.Eventually(t, func() bool { // /metrics is limited too
		return strings.Contains(get("/metrics"), `seawall_server_errors_total{http_response_status_code="429"`)
	}, patience, 100*time.Millisecond)
}

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/TELEMETRY.md")
	require.NoError(t, err)
	return string(page)
}

func TestPageQuotesTheCode(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("page_test.go")
	require.NoError(t, err)
	quotes := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(readPage(t), -1)
	require.NotEmpty(t, quotes)
	for _, quote := range quotes {
		require.Contains(t, string(code), quote[1])
	}
}

func TestPageNamesMetricsPanelsAndAlerts(t *testing.T) {
	t.Parallel()
	page := readPage(t)
	part := regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
	for metric := range exported(t) {
		require.Contains(t, page, "`"+part.ReplaceAllString(metric, "")+"`")
	}
	for _, p := range panels(t) {
		purpose, action, found := strings.Cut(p.Description, "\n\n")
		require.True(t, found, p.Title)
		_, action, found = strings.Cut(action, ":** ")
		require.True(t, found, p.Title)
		require.Contains(t, page, fmt.Sprintf("\n| %s | %s | %s |\n", p.Title, purpose, action))
	}
	for _, a := range alerts(t) {
		require.Contains(t, page, "| `"+a.Alert+"` |")
	}
	for job := range symptoms {
		require.Contains(t, page, "(telemetry-"+job+".svg)")
	}
}
