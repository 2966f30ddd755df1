package lint_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
)

// tool builds the command, and returns its path.
var tool = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "seawall-lint")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "seawall-lint")
	out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/seawall-lint").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if path, err := tool(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

// findingLine matches a finding in the output of go vet. Related information follows a tab.
var findingLine = regexp.MustCompile(`(?m)^(\S+\.go:\d+):\d+: (\S.*)$`)

// vet runs the command as a tool of go vet on the module in dir, and returns what it finds and
// prints.
func vet(t *testing.T, dir string, args ...string) (found []finding, output string) {
	t.Helper()
	path, err := tool()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"vet", "-vettool=" + path}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	for _, match := range findingLine.FindAllStringSubmatch(string(out), -1) {
		found = append(found, finding{filepath.ToSlash(filepath.Clean(match[1])), match[2]})
	}
	if err != nil && len(found) == 0 {
		t.Fatalf("go vet in %s: %v\n%s", dir, err, out)
	}
	return found, string(out)
}

func TestFlagsAddFindings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pkg, flag string
		want      []string // lines
	}{
		{"./plain", "-apierrorbypass.tests", nil},
		{"./plain", "-apierrorbypass.all", []string{"plain/plain.go:7"}},
		{"./withtests", "-apierrorbypass.all", nil},
		{"./withtests", "-apierrorbypass.tests", []string{"withtests/withtests_test.go:11"}},
		{"./generated", "-apierrorbypass.all", nil},
	} {
		t.Run(test.pkg+test.flag, func(t *testing.T) {
			t.Parallel()
			found, output := vet(t, "testdata", test.flag, test.pkg)
			var lines []string
			for _, f := range found {
				lines = append(lines, f.line)
			}
			if !slices.Equal(lines, test.want) {
				t.Fatalf("go vet finds %q, want %q\n%s", lines, test.want, output)
			}
		})
	}
}

// This repository keeps to the catalog itself. The test checks the modules with the packages that
// handle requests: the core with its examples, and the programs that use other libraries too.
func TestThisRepositoryHasNoFindings(t *testing.T) {
	t.Parallel()
	for _, module := range []string{".", "examples/distributed", "tests/interop"} {
		if found, output := vet(t, filepath.Join("..", "..", module), "./..."); len(found) > 0 {
			t.Errorf("go vet in %s:\n%s", module, output)
		}
	}
}
