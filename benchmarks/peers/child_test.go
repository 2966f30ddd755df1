package peers_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// children are the jobs that this test binary does in a child process. A benchmark starts
// the child to measure its memory or processor time.
var children = map[string]func(side string){"flood": flood, "server": server}

const childVariable = "BENCH_CHILD"

func TestMain(m *testing.M) {
	if job, side, ok := strings.Cut(os.Getenv(childVariable), "/"); ok {
		children[job](side)
		return
	}
	os.Exit(m.Run())
}

func child(b *testing.B, job, side string) *exec.Cmd {
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+job+"/"+side)
	cmd.Stderr = os.Stderr
	return cmd
}
