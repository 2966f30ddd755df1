package lint_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tool returns the path of the command, which is built once.
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

// finding matches a finding, but not the tab before related information.
var finding = regexp.MustCompile(`(?m)^(\S+\.go:\d+):\d+: \S`)

// vet runs the command as a tool of go vet on the module in dir. It returns the file and line of
// each finding.
func vet(t *testing.T, dir string, args ...string) (findings []string, output string) {
	t.Helper()
	path, err := tool()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"vet", "-vettool=" + path}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GOFLAGS=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	for _, match := range finding.FindAllStringSubmatch(out.String(), -1) {
		findings = append(findings, filepath.ToSlash(filepath.Clean(match[1])))
	}
	slices.Sort(findings)
	if err != nil && len(findings) == 0 {
		t.Fatalf("go vet in %s: %v\n%s", dir, err, &out)
	}
	return slices.Compact(findings), out.String()
}

// With go vet, facts go from package to package through files, and types through export data.
func TestVetFindsWhatTheTestdataExpects(t *testing.T) {
	t.Parallel()
	var want []string
	walk(t, "testdata", func(path string, d fs.DirEntry) {
		if filepath.Ext(path) != ".go" {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "// want `") {
				name, err := filepath.Rel("testdata", path)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprintf("%s:%d", filepath.ToSlash(name), i+1))
			}
		}
	})
	slices.Sort(want)
	got, output := vet(t, "testdata", "./...")
	if len(want) < 10 || !slices.Equal(got, want) {
		t.Fatalf("go vet finds\n%q\nwant\n%q\n%s", got, want, output)
	}
}

func TestFlagsAddFindings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pkg, flag string
		want      []string
	}{
		{"./plain", "-apierrorbypass.tests", nil},
		{"./plain", "-apierrorbypass.all", []string{"plain/plain.go:7"}},
		{"./withtests", "-apierrorbypass.all", nil},
		{"./withtests", "-apierrorbypass.tests", []string{"withtests/withtests_test.go:11"}},
		{"./generated", "-apierrorbypass.all", nil},
	} {
		t.Run(test.pkg+test.flag, func(t *testing.T) {
			t.Parallel()
			if got, output := vet(t, "testdata", test.flag, test.pkg); !slices.Equal(got, test.want) {
				t.Fatalf("go vet finds %q, want %q\n%s", got, test.want, output)
			}
		})
	}
}

// This repository keeps to the catalog itself. The test checks the modules with the packages that
// handle requests: the core with its examples, and the programs that use other libraries too.
func TestThisRepositoryHasNoFindings(t *testing.T) {
	t.Parallel()
	for _, module := range []string{".", "examples/distributed", "tests/interop"} {
		if findings, output := vet(t, filepath.Join("..", "..", module), "./..."); len(findings) > 0 {
			t.Errorf("go vet in %s:\n%s", module, output)
		}
	}
}

// walk visits the files of a tree, but for hidden folders, dependencies and, further in, testdata.
func walk(t *testing.T, root string, visit func(path string, d fs.DirEntry)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !d.IsDir() {
			visit(path, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
