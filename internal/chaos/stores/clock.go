package stores

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed preload/clock.c
var preload []byte

// A clock is the wall clock of a store's processes.
type clock struct {
	library string
	file    *os.File
}

// newClock compiles the library that moves the clock. It needs the C compiler that "make deps"
// installs for the race detector.
func newClock(tb testing.TB) *clock {
	tb.Helper()
	// The store may run as another user, who must not enter the folders of tb.TempDir.
	dir, err := os.MkdirTemp("", "clock") //nolint:usetesting // see above
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(tb, os.Chmod(dir, 0o755)) //nolint:gosec // see above
	source := filepath.Join(dir, "clock.c")
	must(tb, os.WriteFile(source, preload, 0o600))
	c := &clock{library: filepath.Join(dir, "clock.so")}
	out, err := exec.Command("cc", "-O2", "-shared", "-fPIC", "-o", c.library, source).CombinedOutput() //nolint:gosec,noctx // it is short
	if err != nil {
		tb.Fatalf("stores: cc: %v: run make deps: %s", err, out)
	}
	c.file, err = os.OpenFile(filepath.Join(dir, "offset"), os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // see above
	must(tb, err)
	tb.Cleanup(func() { _ = c.file.Close() })
	must(tb, c.set(0))
	return c
}

// env is what the store's processes need in their environment.
func (c *clock) env() []string {
	return []string{"LD_PRELOAD=" + c.library, "CHAOS_CLOCK=" + c.file.Name()}
}

// set makes the clock differ from the true time by d.
func (c *clock) set(d time.Duration) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(d.Microseconds()))
	_, err := c.file.WriteAt(b[:], 0)
	return err
}

// faults are jumps that are longer than the leases.
func (c *clock) faults() []Fault {
	jump := func() time.Duration { return random(2*time.Second, 5*time.Second) }
	end := func() error { return c.set(0) }
	return []Fault{
		{Kind: "clock forward", Target: "store", Begin: func() error { return c.set(jump()) }, End: end},
		{Kind: "clock back", Target: "store", Begin: func() error { return c.set(-jump()) }, End: end},
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(fmt.Errorf("stores: %w", err))
	}
}
