package modeltest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	seeded = "MODELTEST_SEEDED" // set in the environment of a run with a seeded bug
	caught = "the model does not allow it"
)

// Each bug is a change of the middleware's source, compiled in by go test -overlay.
func TestCheckerCatchesMiddlewareBugs(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]struct{ file, old, new string }{
		"reply before record": {
			"execute.go",
			"\treturn q.settle()\n}\n\n// execute",
			"\tq.reply()\n\treturn q.settle()\n}\n\n// execute",
		},
		"own answer after the claim was lost": {
			"execute.go",
			"\tif errors.Is(err, ErrLost) {\n\t\tq.event.Lost = true",
			"\tif false {\n\t\tq.event.Lost = true",
		},
		"released after the point of no return": {
			"run.go",
			"\tcase marked:\n\t\tn.outcome = Outcome{State: Unknown,",
			"\tcase marked:\n\t\tn.outcome = Outcome{State: Released,",
		},
		"effect begun although the mark failed": {
			"run.go",
			"\tn.marked = true\n\treturn nil",
			"\treturn nil",
		},
		"body left out of the print": {
			"print.go",
			"\th.Write(content)\n",
			"",
		},
		"failures kept": {
			"run.go",
			"\tcase !keep:\n",
			"\tcase !keep && false:\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := filepath.Abs(filepath.Join("..", "..", "idempotent", bug.file))
			if err != nil {
				t.Fatal(err)
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(source), bug.old) != 1 {
				t.Fatalf("%s no longer has, once:\n%s", bug.file, bug.old)
			}
			dir := t.TempDir()
			changed, overlay := filepath.Join(dir, bug.file), filepath.Join(dir, "overlay.json")
			write(t, changed, []byte(strings.Replace(string(source), bug.old, bug.new, 1)))
			replace, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, overlay, replace)

			cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay="+overlay, "-run=^TestClientsSeeWhatTheModelAllows$", ".")
			cmd.Env = append(os.Environ(), seeded+"=1", "GOWORK=off")
			out, err := cmd.CombinedOutput()

			if err == nil || !strings.Contains(string(out), caught) {
				t.Fatalf("not caught: %v\n%s", err, out)
			}
		})
	}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
