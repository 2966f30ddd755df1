package modeltest_test

import (
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
)

// suite runs the conformance suite on the reference store, within a bug if there is one.
func suite(t *testing.T, wrap func(*reference) idempotent.Store) {
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		var now atomic.Int64
		s := newReference(func() time.Duration { return time.Duration(now.Load()) }, func() { time.Sleep(time.Millisecond) })
		advance := func(d time.Duration) { now.Add(int64(d)) }
		return wrap(s), advance
	})
}

func TestSuiteAndModelAgree(t *testing.T) {
	t.Parallel()
	suite(t, func(s *reference) idempotent.Store { return s })
}

// TestSuiteOnABug fails when the environment names a bug: it is what TestSuiteCatchesStoreBugs runs.
func TestSuiteOnABug(t *testing.T) {
	t.Parallel()
	if wrap := storeBugs[os.Getenv(seeded)]; wrap != nil {
		suite(t, wrap)
	}
}

func TestSuiteCatchesStoreBugs(t *testing.T) {
	t.Parallel()
	for name := range storeBugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteOnABug$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), seeded+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestSuiteOnABug/") {
				t.Fatalf("not caught: %v\n%s", err, out)
			}
		})
	}
}
