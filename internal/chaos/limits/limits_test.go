package limits_test

import (
	"encoding/json"
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/limits"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

var (
	duration = flag.Duration("limits", 12*time.Second, "how long TestLimitsHoldUnderFaults attacks")
	seed     = flag.Uint64("limits.seed", 0, "of TestLimitsHoldUnderFaults; 0 is the time")
)

func TestMain(m *testing.M) {
	limits.Main()
	leakcheck.Main(m)
}

func TestLimitsHoldUnderFaults(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	result := limits.Run(t, *duration, s)
	for i := range result.Arms {
		result.Arms[i].Seconds = nil // these are for a plot
	}
	text, err := json.MarshalIndent(result, "", "  ")
	require.NoError(t, err)
	t.Logf("%s", text)
}
