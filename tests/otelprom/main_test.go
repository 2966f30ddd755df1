package otelprom_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/otelseawall"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// files is the folder of the dashboard and of the alerts.
const files = "../../otelseawall/dashboard"

// newTelemetry returns a Telemetry, and the registry from which Prometheus gets its metrics.
func newTelemetry(t *testing.T) (*otelseawall.Telemetry, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	return otelseawall.New(&otelseawall.Options{MeterProvider: provider}), registry
}

// panel is a panel of the dashboard.
type panel struct {
	Type, Title, Description string
	Targets                  []query
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Color      struct{ FixedColor string }
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
	}
}

type query struct{ Expr, LegendFormat string }

// panels returns the panels that are graphs.
func panels(t *testing.T) []panel {
	t.Helper()
	data, err := os.ReadFile(files + "/seawall.json")
	require.NoError(t, err)
	var dashboard struct{ Panels []panel }
	require.NoError(t, json.Unmarshal(data, &dashboard))
	var graphs []panel
	for _, p := range dashboard.Panels {
		if p.Type != "row" {
			graphs = append(graphs, p)
		}
	}
	require.NotEmpty(t, graphs)
	return graphs
}
