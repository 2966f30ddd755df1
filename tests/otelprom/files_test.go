package otelprom_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/stretchr/testify/require"
)

// Grafana's own types have each member of the dashboard, with the same type.
func TestDashboardFollowsSchemaOfGrafana(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	data, err := os.ReadFile(files + "/seawall.json")
	require.NoError(t, err)
	var d dashboard.Dashboard                                           //nolint:staticcheck // the newer model is for a later schema version
	require.Equal(t, cog.BuildErrors(nil), d.UnmarshalJSONStrict(data)) // an empty list is not a nil error
	require.NoError(t, d.Validate())
}

func TestAlertsAreValidRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "alerts.yaml")
}

// The cases are in alerts_test.yaml.
func TestAlertsFireOnlyWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool(t, "test", "rules", "alerts_test.yaml")
	tested, err := os.ReadFile(files + "/alerts_test.yaml")
	require.NoError(t, err)
	for _, a := range alerts(t) {
		require.Contains(t, string(tested), `{alertname="`+a.Alert+`", job="bad"}`)
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = files
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
