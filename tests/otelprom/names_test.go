package otelprom_test

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/otelseawall"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// exported returns the metrics that Prometheus gets, each with its labels. It makes each of them.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	telemetry, registry := newTelemetry(t)
	useAll(t, telemetry)
	families, err := registry.Gather()
	require.NoError(t, err)
	found := make(map[string]map[string]bool)
	for _, family := range families {
		names := []string{family.GetName()}
		labels := map[string]bool{"job": true} // by Prometheus
		if family.GetType().String() == "HISTOGRAM" {
			names = []string{names[0] + "_bucket", names[0] + "_sum", names[0] + "_count"}
			labels["le"] = true
		}
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				labels[pair.GetName()] = true
			}
		}
		if strings.HasPrefix(names[0], "seawall_") {
			for _, name := range names {
				found[name] = labels
			}
		}
	}
	require.NotEmpty(t, found)
	return found
}

// useAll reports something to each metric of a Telemetry, with all labels.
func useAll(t *testing.T, telemetry *otelseawall.Telemetry) {
	t.Helper()
	ctx := t.Context()
	telemetry.Request(ctx, seawall.Event{Pattern: "GET /", Status: 500, Code: apierror.CodeAPIError, Type: apierror.TypeAPI, Replayed: true})
	telemetry.RateLimit(ctx, ratelimit.Event{Rule: "r", Outcome: ratelimit.OutcomeDenied, Shadow: true, Err: errors.New("no Redis")})
	telemetry.Idempotency(ctx, idempotent.Event{Outcome: idempotent.OutcomeExecuted, Lost: true})
	telemetry.Limiter("api", ratelimit.NewMemory(nil))
	telemetry.Store("api", idempotent.NewMemory(nil))
	broken := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") })
	quiet := slog.New(slog.DiscardHandler)
	for _, transport := range []*retry.Transport{
		{Base: broken, Breaker: &retry.Breaker{MinCalls: 1}, Logger: quiet}, // whose circuit opens
		{Base: broken, Policy: &retry.Policy{BaseDelay: time.Millisecond}, Pace: rate.NewLimiter(rate.Every(20*time.Millisecond), 1), Logger: quiet},
	} {
		client := telemetry.Transport(transport)
		for range 3 {
			resp, err := client.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/", nil))
			require.Error(t, err)
			require.Nil(t, resp)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var (
	notNames  = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|\$\w+`) // strings, durations and variables
	name      = regexp.MustCompile(`[a-zA-Z_]\w*(\s*\{)?`)
	legend    = regexp.MustCompile(`\{\{(\w+)\}\}`)
	inMessage = regexp.MustCompile(`\$labels\.(\w+)`)

	// words are what a query may contain besides metrics, labels and durations.
	words = []string{"sum", "min", "by", "rate", "increase", "histogram_quantile", "topk", "and", "or", "unless", "offset"}
)

// unknownNames returns the names in a query that are neither those of a metric nor those of a label
// of a metric in this query.
func unknownNames(expr string, metrics map[string]map[string]bool) []string {
	var unknown []string
	labels := make(map[string]bool)
	bare := notNames.ReplaceAllString(expr, "")
	found := name.FindAllString(bare, -1)
	for _, n := range found {
		maps.Copy(labels, metrics[strings.TrimRight(n, " {")])
	}
	for _, n := range found {
		n = strings.TrimRight(n, " {")
		if metrics[n] == nil && !labels[n] && !slices.Contains(words, n) {
			unknown = append(unknown, n)
		}
	}
	return unknown
}

func TestPanelsNameExportedMetricsAndLabels(t *testing.T) {
	t.Parallel()
	metrics := exported(t)
	for _, p := range panels(t) {
		require.NotEmpty(t, p.Targets, p.Title)
		for _, q := range p.Targets {
			require.Empty(t, unknownNames(q.Expr, metrics), "%s: %s", p.Title, q.Expr)
			for _, label := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
				require.Contains(t, q.Expr, label[1], "%s: the legend %s", p.Title, q.LegendFormat)
			}
		}
	}
}

func TestUnknownNamesAreFound(t *testing.T) {
	t.Parallel()
	metrics := exported(t)
	for expr, want := range map[string][]string{
		`sum by (http_route) (rate(seawall_server_replays_total{job="a"}[5m]))`:  nil,
		`sum by (http_rout) (rate(seawall_server_replays_total[5m]))`:            {"http_rout"},
		`sum by (error_type) (rate(seawall_server_replays_total[5m]))`:           {"error_type"}, // of another metric
		`rate(seawall_server_replay_total{job="a"}[5m])`:                         {"seawall_server_replay_total", "job"},
		`seawall_ratelimit_keys{seawall_rule="a"} unless seawall_ratelimit_keys`: {"seawall_rule"},
	} {
		require.Equal(t, want, unknownNames(expr, metrics), expr)
	}
}

// Each metric is on a panel, unless another metric says the same.
func TestEveryMetricIsShown(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			all.WriteString(q.Expr)
		}
	}
	for metric := range exported(t) {
		base := strings.TrimSuffix(strings.TrimSuffix(metric, "_sum"), "_count")
		require.Contains(t, all.String(), base)
	}
}

// alert is a rule of alerts.yaml.
type alert struct {
	Alert, Expr string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	data, err := os.ReadFile(files + "/alerts.yaml")
	require.NoError(t, err)
	var file struct {
		Groups []struct{ Rules []alert }
	}
	require.NoError(t, yaml.Unmarshal(data, &file))
	require.Len(t, file.Groups, 1)
	require.NotEmpty(t, file.Groups[0].Rules)
	return file.Groups[0].Rules
}

func TestAlertsNameExportedMetricsAndLabels(t *testing.T) {
	t.Parallel()
	metrics := exported(t)
	minutes := regexp.MustCompile(`\d+m\b`)
	for _, a := range alerts(t) {
		require.Empty(t, unknownNames(minutes.ReplaceAllString(a.Expr, ""), metrics), a.Alert)
		by := regexp.MustCompile(`by \(([^)]*)\)`).FindStringSubmatch(a.Expr)
		require.NotNil(t, by, a.Alert)
		for _, text := range []string{a.Annotations["summary"], a.Annotations["description"]} {
			require.NotEmpty(t, text, a.Alert)
			for _, label := range inMessage.FindAllStringSubmatch(text, -1) {
				require.Contains(t, strings.Split(by[1], ", "), label[1], "%s: %s", a.Alert, text)
			}
		}
	}
}
