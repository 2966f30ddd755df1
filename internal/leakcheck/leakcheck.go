// Package leakcheck fails a test binary that leaves goroutines behind, and helps tests that look
// for memory that is still in use.
package leakcheck

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines may take to end after the last test.
const patience = 5 * time.Second

// Main is the body of a package's TestMain: it calls Run and exits.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Collect collects garbage, so that a weak pointer to what is not in use is nil. One collection is
// not enough: it takes whatever is on the stack of a preempted goroutine for pointers.
func Collect() {
	for range 3 {
		runtime.GC()
	}
}

// Run runs the tests and returns the exit status. If they pass, but goroutines are left five
// seconds later, it prints their stacks and returns 1.
func Run(m *testing.M) int { return run(m.Run, patience, os.Stderr) }

func run(tests func() int, patience time.Duration, out io.Writer) int {
	code := tests()
	if code != 0 {
		return code // a failed test may have left anything
	}
	left := wait(patience)
	if len(left) == 0 {
		return 0
	}
	fmt.Fprintf(out, "leakcheck: goroutines left behind by the tests: %d\n\n", len(left))
	fmt.Fprintln(out, strings.Join(left, "\n\n"))
	return 1
}

// wait waits until no goroutine is left, at most for patience, and returns those that are left.
func wait(patience time.Duration) []string {
	const step = 5 * time.Millisecond
	left := others()
	for waited := time.Duration(0); len(left) > 0 && waited < patience; waited += step {
		time.Sleep(step)
		left = others()
	}
	return left
}

// others returns the stacks of all goroutines except the caller's and the permanent ones of the
// standard library.
func others() []string {
	var left []string
	for i, stack := range strings.Split(stacks(), "\n\n") {
		if i > 0 && !permanent(stack) { // the caller's comes first
			left = append(left, strings.TrimSpace(stack))
		}
	}
	return left
}

// permanent reports whether a goroutine was started by the runtime or by os/signal. Those of the
// testing package end with the tests.
func permanent(stack string) bool {
	return strings.Contains(stack, "\ncreated by runtime.") || strings.Contains(stack, "\ncreated by os/signal.")
}

func stacks() string {
	for size := 64 << 10; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return string(buf[:n])
		}
	}
}
