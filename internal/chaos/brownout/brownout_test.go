package brownout

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	full = flag.Bool("full", false, "run all scenarios in their full length")
	out  = flag.String("out", "", "write the result of a full run to this file, as JSON")
	seed = flag.Uint64("seed", 2026, "the seed of the random times of the calls")
)

// TestRetriesAddLittleLoadToBrownOutAndDoNotProlongIt runs the first scenario with a short trouble.
// With -full, it runs everything:
//
//	go test ./brownout -run=BrownOut -v -count=1 -full -out=result.json
func TestRetriesAddLittleLoadToBrownOutAndDoNotProlongIt(t *testing.T) { //nolint:paralleltest // it measures times
	if *full {
		result := Run(t, *seed)
		if *out != "" {
			b, err := json.MarshalIndent(result, "", "\t")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(*out, b, 0o644))
		}
		return
	}
	RunWith(t, *seed, Options{
		Scenarios: []string{Slow}, Arms: []string{NoRetries, Seawall},
		Healthy: 2 * time.Second, Trouble: 3 * time.Second, After: 6500 * time.Millisecond,
		Tries: 2,
	})
}
