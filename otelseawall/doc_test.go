package otelseawall_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// names is a provider that keeps the names of instruments.
type names struct {
	metricnoop.MeterProvider
	made *[]string
}

func (n names) add(name string) { *n.made = append(*n.made, name) }

func (n names) Meter(string, ...metric.MeterOption) metric.Meter {
	return namesMeter{names: n}
}

type namesMeter struct {
	metricnoop.Meter
	names names
}

func (m namesMeter) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	m.names.add(name)
	return m.Meter.Int64Counter(name, o...)
}

func (m namesMeter) Float64Histogram(name string, o ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	m.names.add(name)
	return m.Meter.Float64Histogram(name, o...)
}

func (m namesMeter) Int64ObservableUpDownCounter(name string, o ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	m.names.add(name)
	return m.Meter.Int64ObservableUpDownCounter(name, o...)
}

func (m namesMeter) Int64ObservableCounter(name string, o ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	m.names.add(name)
	return m.Meter.Int64ObservableCounter(name, o...)
}

func (m namesMeter) Float64ObservableGauge(name string, o ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	m.names.add(name)
	return m.Meter.Float64ObservableGauge(name, o...)
}

func TestDocumentationNamesEveryMetricAndAttribute(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	name := regexp.MustCompile(`(?m)^//\t([a-z_.]+) `)
	var metrics []string
	for section := range strings.SplitSeq(string(text), "\n// # ") {
		if title, body, _ := strings.Cut(section, "\n"); strings.HasPrefix(title, "Metrics of") {
			list, _, _ := strings.Cut(body, "attributes are:")
			for _, match := range name.FindAllStringSubmatch(list, -1) {
				metrics = append(metrics, match[1])
			}
		}
	}
	var made []string
	telemetry := otelseawall.New(&otelseawall.Options{MeterProvider: names{made: &made}})
	telemetry.Limiter("api", ratelimit.NewMemory(nil))
	telemetry.Store("api", idempotent.NewMemory(nil))
	require.ElementsMatch(t, made, metrics)

	source, err := os.ReadFile("attributes.go")
	require.NoError(t, err)
	keys := regexp.MustCompile(`attribute\.Key\("(.*)"\)`).FindAllStringSubmatch(string(source), -1)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		require.Contains(t, string(text), key[1])
	}
	// A name must not be the namespace of another attribute.
	for _, outer := range keys {
		require.False(t, slices.ContainsFunc(keys, func(k []string) bool { return strings.HasPrefix(k[1], outer[1]+".") }), outer[1])
	}
}
