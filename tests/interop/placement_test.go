package interop_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// placement is outside or inside.
type placement func(func(http.Handler) http.Handler) func(*testing.T, *service) http.Handler

// outside puts m around the chain.
func outside(m func(http.Handler) http.Handler) func(*testing.T, *service) http.Handler {
	return func(_ *testing.T, s *service) http.Handler { return m(s.chain(s.mux())) }
}

// inside puts m between the chain and the router.
func inside(m func(http.Handler) http.Handler) func(*testing.T, *service) http.Handler {
	return func(_ *testing.T, s *service) http.Handler { return s.chain(m(seawall.WrapMux(s.mux()))) }
}

// discardLog is a logger that discards everything.
var discardLog = log.New(io.Discard, "", 0)

func gzhttpHandler(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }

func allowOrigin(next http.Handler) http.Handler { return cors.AllowAll().Handler(next) }

func recoveryHandler(next http.Handler) http.Handler {
	return handlers.RecoveryHandler(handlers.RecoveryLogger(discardLog))(next)
}

func timeoutHandler(next http.Handler) http.Handler {
	return http.TimeoutHandler(next, time.Minute, "too late")
}

// traced places otelhttp. otelhttp needs the patterns, for the names of its spans and for
// http.route in its metrics.
func traced(place placement) func(*testing.T, *service) http.Handler {
	return func(t *testing.T, s *service) http.Handler {
		exporter, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
		t.Cleanup(func() {
			spans, routes := spanNames(exporter), metricRoutes(t, reader)
			for _, rt := range s.routes {
				if rt.path != "/panic" && rt.path != "/torn" { // otelhttp does not name the span of a panic
					require.Contains(t, spans, rt.pattern())
					require.Contains(t, routes, rt.path)
				}
			}
		})
		return place(otelhttp.NewMiddleware("service",
			otelhttp.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))),
			otelhttp.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Pattern }),
		))(t, s)
	}
}

func spanNames(exporter *tracetest.InMemoryExporter) []string {
	var names []string
	for _, span := range exporter.GetSpans() {
		names = append(names, span.Name)
	}
	return names
}

func metricRoutes(t *testing.T, reader sdkmetric.Reader) []string {
	var collected metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &collected))
	var routes []string
	for _, scope := range collected.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if durations, ok := metric.Data.(metricdata.Histogram[float64]); ok {
				for _, point := range durations.DataPoints {
					route, _ := point.Attributes.Value("http.route")
					routes = append(routes, route.AsString())
				}
			}
		}
	}
	return routes
}

// proxyOutside puts a proxy in front of a server with the chain.
func proxyOutside(t *testing.T, s *service) http.Handler {
	return proxyTo(t, s.chain(s.mux()))
}

// proxyInside puts the chain around a proxy to another server, which trusts the request
// ids of the chain.
func proxyInside(t *testing.T, s *service) http.Handler {
	trusted := &seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return true }}}
	proxy := proxyTo(t, trusted.Handler(s.mux()))
	proxy.Transport = seawall.ForwardRequestID(proxy.Transport)
	proxy.ModifyResponse = func(resp *http.Response) error {
		resp.Header.Del("Request-Id")
		resp.Header.Del("X-Request-Id")
		return nil
	}
	proxy.ErrorHandler = apierror.Write
	return s.chain(proxy)
}

func proxyTo(t *testing.T, h http.Handler) *httputil.ReverseProxy {
	server := startServer(t, h, false)
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: server.Client().Transport,
		ErrorLog:  discardLog,
	}
}
