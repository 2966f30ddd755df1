package leakcheck_test

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

// scenario is the environment variable that tells the child process what to do instead of
// testing.
const scenario = "LEAKCHECK_SCENARIO"

func TestMain(m *testing.M) {
	tests, ok := scenarios[os.Getenv(scenario)]
	if !ok {
		leakcheck.Main(m)
	}
	os.Exit(leakcheck.RunTests(tests, 50*time.Millisecond, os.Stderr))
}

var scenarios = map[string]func() int{
	"leak":     func() int { go leakyWait(make(chan int)); return 0 },
	"leak too": func() int { go leakyWait(make(chan int)); go leakyWait(nil); return 0 },
	"failed":   func() int { go leakyWait(nil); return 3 },
	"clean":    func() int { return 0 },
	"late": func() int {
		go time.Sleep(10 * time.Millisecond)
		return 0
	},
	"signals": func() int {
		c := make(chan os.Signal, 1)
		signal.Notify(c, os.Interrupt)
		return 0
	},
}

func leakyWait(c chan int) { <-c }

func TestLeftGoroutinesFailTheBinary(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		code   int
		leaked int
	}{
		"leak":     {1, 1},
		"leak too": {1, 2},
		"failed":   {3, 0}, // the tests have reported it
		"clean":    {0, 0},
		"late":     {0, 0},
		"signals":  {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), scenario+"="+name)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != want.code {
				t.Errorf("exit code %d, want %d", got, want.code)
			}
			if got := strings.Count(string(out), "leakcheck_test.leakyWait("); got != want.leaked {
				t.Errorf("%d leaks told, want %d:\n%s", got, want.leaked, out)
			}
		})
	}
}
