package otelseawall_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/otelseawall"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

var discard = slog.New(slog.DiscardHandler)

// recorder is a Telemetry whose spans and metrics can be read.
type recorder struct {
	*otelseawall.Telemetry
	spans  *tracetest.InMemoryExporter
	tracer *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
}

func newRecorder(maxValues int) *recorder {
	r := &recorder{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	r.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.spans))
	r.Telemetry = otelseawall.New(&otelseawall.Options{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader)),
		TracerProvider: r.tracer,
		Propagator:     propagation.TraceContext{},
		MaxValues:      maxValues,
	})
	return r
}

// traced puts otelhttp around a service.
func (r *recorder) traced(h http.Handler) http.Handler {
	return otelhttp.NewHandler(h, "api",
		otelhttp.WithTracerProvider(r.tracer),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithSpanNameFormatter(func(_ string, req *http.Request) string { return req.Pattern }))
}

// report returns all spans, as a tree, and all metrics.
func (r *recorder) report(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	spans := r.spans.GetSpans().Snapshots()
	slices.SortStableFunc(spans, func(x, y sdktrace.ReadOnlySpan) int { return x.StartTime().Compare(y.StartTime()) })
	writeSpans(&b, spans, trace.SpanID{}, "")
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(context.Background(), &collected))
	for _, scope := range collected.ScopeMetrics {
		writeMetrics(&b, scope.Metrics)
	}
	return b.String()
}

// shown reports whether to show an attribute of a span: those of otelhttp are not ours.
func shown(a attribute.KeyValue, ours bool) bool {
	return ours || strings.HasPrefix(string(a.Key), "seawall.")
}

func writeSpans(b *strings.Builder, spans []sdktrace.ReadOnlySpan, parent trace.SpanID, indent string) {
	for _, s := range spans {
		if s.Parent().SpanID() != parent {
			continue
		}
		fmt.Fprintf(b, "%sspan %s %s %s", indent, s.SpanKind(), s.Name(), s.EndTime().Sub(s.StartTime()))
		if s.Status().Code != 0 {
			fmt.Fprintf(b, " %s", s.Status().Code)
		}
		b.WriteByte('\n')
		ours := s.InstrumentationScope().Name == "github.com/seawall-go/seawall/otelseawall"
		writeAttributes(b, s.Attributes(), ours, indent+"      ")
		writeSpans(b, spans, s.SpanContext().SpanID(), indent+"  ")
	}
}

func writeAttributes(b *strings.Builder, attrs []attribute.KeyValue, ours bool, indent string) {
	attrs = slices.Clone(attrs)
	slices.SortFunc(attrs, func(x, y attribute.KeyValue) int { return strings.Compare(string(x.Key), string(y.Key)) })
	for _, a := range attrs {
		if shown(a, ours) {
			fmt.Fprintf(b, "%s%s=%s\n", indent, a.Key, a.Value.String())
		}
	}
}

func writeMetrics(b *strings.Builder, metrics []metricdata.Metrics) {
	lines := make(map[string]string)
	for _, m := range metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				lines[m.Name+series(p.Attributes)] = fmt.Sprint(p.Value)
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				lines[m.Name+series(p.Attributes)] = fmt.Sprintf("%.2f", p.Value)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				lines[m.Name+series(p.Attributes)] = fmt.Sprintf("%d of %gs in total", p.Count, p.Sum)
			}
		default:
			lines[m.Name] = fmt.Sprintf("%T", data)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(b, "%s %s\n", name, lines[name])
	}
}

// series returns attributes as Prometheus writes them.
func series(attrs attribute.Set) string {
	var parts []string
	for _, a := range attrs.ToSlice() {
		parts = append(parts, fmt.Sprintf("%s=%q", a.Key, a.Value.String()))
	}
	return "{" + strings.Join(parts, ",") + "}"
}
