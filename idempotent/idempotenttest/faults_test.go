package idempotenttest_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/internal/idemtest"
)

// envFault names the fault of a test process. A suite that fails makes its test fail, so each
// fault is tested in its own process.
const envFault = "IDEMPOTENTTEST_FAULT"

// TestStoreWithFault is run by TestSuiteFindsEachFault.
func TestStoreWithFault(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.Faults() {
		if fault.Name == os.Getenv(envFault) {
			idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
				clock := new(idemtest.Clock)
				s := idemtest.NewReference(clock.Now)
				s.Pause = func() { time.Sleep(time.Millisecond) }
				return fault.Wrap(s), clock.Advance
			})
		}
	}
}

func TestSuiteFindsEachFault(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			mustFail(t, "TestStoreWithFault", fault.Case, fault.Name)
		})
	}
}

// TestFullStoreWithFault is run by TestSuiteFindsEachFaultOfFullStores.
func TestFullStoreWithFault(t *testing.T) {
	t.Parallel()
	if fault := os.Getenv(envFault); idemtest.BoundedFaults()[fault] != "" {
		runFull(t, fault)
	}
}

func TestSuiteFindsEachFaultOfFullStores(t *testing.T) {
	t.Parallel()
	for fault, name := range idemtest.BoundedFaults() {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			mustFail(t, "TestFullStoreWithFault", name, fault)
		})
	}
}

// runFull runs the suite with a store that has room for 12 records and 4 KiB of responses.
func runFull(t *testing.T, fault string) {
	t.Helper()
	idempotenttest.RunFull(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		clock := new(idemtest.Clock)
		s := idemtest.NewBounded(clock.Now, 12, 4096)
		s.Fault = fault
		return s, clock.Advance
	})
}

// TestExecutorWithFault is run by TestSuiteFindsEachFaultOfExecutors.
func TestExecutorWithFault(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.ExecutorFaults() {
		if fault.Name == os.Getenv(envFault) {
			idempotenttest.RunExecutor(t, func(*testing.T) idempotenttest.ExecutorFixture {
				db, clock := idemtest.NewDatabase(16), new(idemtest.Clock)
				f := fixtureOf(fault.Wrap(idemtest.NewTxStore(db, clock.Now, time.Second)), db, clock)
				f.Patience = 3 * time.Second
				return f
			})
		}
	}
}

func TestSuiteFindsEachFaultOfExecutors(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.ExecutorFaults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			mustFail(t, "TestExecutorWithFault", fault.Case, fault.Name)
		})
	}
}

// TestOneWriterWithFault is run by TestSuiteFindsEachFaultOfOneWriter.
func TestOneWriterWithFault(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.OneWriterFaults() {
		if fault.Name == os.Getenv(envFault) {
			idempotenttest.RunExecutor(t, func(*testing.T) idempotenttest.ExecutorFixture {
				f := oneWriter(fault.Wrap)
				f.Patience = 3 * time.Second
				return f
			})
		}
	}
}

func TestSuiteFindsEachFaultOfOneWriter(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.OneWriterFaults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			mustFail(t, "TestOneWriterWithFault", fault.Case, fault.Name)
		})
	}
}

// mustFail runs one case of a suite in a process with a fault.
func mustFail(t *testing.T, test, name, fault string) {
	t.Helper()
	name = strings.ReplaceAll(name, " ", "_")
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$/^"+regexp.QuoteMeta(name)+"$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envFault+"="+fault)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: "+test+"/"+name) {
		t.Errorf("the case %q does not find it: %v\n%s", name, err, out)
	}
}
