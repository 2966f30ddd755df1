package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// module writes a module with the given test file and returns its folder. Its import path is example.com/m.
func module(t *testing.T, tests string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":    "module example.com/m\n\ngo 1.26.0\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\n" + tests,
		"skips.txt": "# comment\n\nexample.com/m TestSkipped   the machine has  no moon\nexample.com/m TestGroup/skipped too\n",
		"wrong.txt": "example.com/m TestSkipped\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	passing = "func TestPassing(t *testing.T) { t.Log(\"measured 3\") }\n"
	failing = "func TestFailing(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"the reason\") }) }\n"
	skipped = "func TestSkipped(t *testing.T) { t.Skip(\"no moon\") }\n"
	group   = "func TestGroup(t *testing.T) { t.Run(\"skipped\", func(t *testing.T) { t.Skip(\"no sun\") }) }\n"
	panics  = "func TestPanics(t *testing.T) { var m map[int]int; m[0]++ }\n"
	exits   = "func TestMain(m *testing.M) { m.Run(); println(\"left behind\"); panic(\"exit\") }\n"
	hangs   = "func TestHangs(t *testing.T) { select {} }\n"
	broken  = "func TestBroken(t *testing.T) { undefined() }\n"
)

func TestGotest(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		tests string
		skips string
		args  []string
		ci    bool
		code  int
		says  []string
		not   []string
	}{
		"passing":                 {tests: passing, ci: true, says: []string{"ok  \texample.com/m", "\n1 passed, 0 failed, 0 skipped\n"}, not: []string{"measured"}},
		"verbose":                 {tests: passing, args: []string{"-v"}, says: []string{"measured 3", "--- PASS: TestPassing"}, not: []string{"=== RUN"}},
		"failing":                 {tests: passing + failing, code: 1, says: []string{"the reason", "--- FAIL: TestFailing/sub", "FAIL\texample.com/m", "\n1 passed, 2 failed, 0 skipped\n"}, not: []string{"measured"}},
		"skip, at home":           {tests: passing + skipped, says: []string{"no moon", "\n1 passed, 0 failed, 1 skipped\n"}},
		"skip, CI":                {tests: passing + skipped, ci: true, code: 1, says: []string{"FAIL: skipped", "example.com/m TestSkipped", "no moon", "\n1 passed, 0 failed, 1 skipped\n"}},
		"skip, CI, listed":        {tests: passing + skipped, skips: "skips.txt", ci: true, says: []string{"as listed (the machine has no moon)", "\n1 passed, 0 failed, 1 skipped\n"}},
		"skipped subtest, CI":     {tests: passing + group, ci: true, code: 1, says: []string{"example.com/m TestGroup/skipped", "no sun"}},
		"skipped subtest, listed": {tests: passing + group, skips: "skips.txt", ci: true},
		"wrong list":              {tests: passing, skips: "wrong.txt", code: 2, says: []string{"wrong.txt:1"}},
		"no list":                 {tests: passing, skips: "missing.txt", code: 2, says: []string{"missing.txt"}},
		"no test":                 {tests: passing, args: []string{"-run", "Nothing"}, code: 1, says: []string{"no test ran"}},
		"panic":                   {tests: passing + panics, code: 1, says: []string{"assignment to entry in nil map", "m_test.go", "1 failed"}},
		"failure after the tests": {tests: passing + exits, code: 1, says: []string{"left behind", "FAIL\texample.com/m", "\n1 passed, 1 failed, 0 skipped\n"}},
		"time-out":                {tests: passing + hangs, args: []string{"-timeout=1s"}, code: 1, says: []string{"test timed out", "TestHangs"}},
		"does not build":          {tests: broken, code: 1, says: []string{"undefined: undefined", "FAIL\texample.com/m [build failed]", "\n0 passed, 1 failed, 0 skipped\n"}},
		"no such flag":            {tests: passing, args: []string{"-nonsense"}, code: 1, says: []string{"nonsense", "\n0 passed, 1 failed, 0 skipped\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := module(t, row.tests)
			var args []string
			if row.skips != "" {
				args = append(args, "-skips", filepath.Join(dir, row.skips))
			}
			args = append(append(append(args, dir, "--"), row.args...), "./...")
			var out strings.Builder
			if got := run(args, row.ci, &out, &out); got != row.code {
				t.Errorf("status %d, want %d", got, row.code)
			}
			for _, want := range row.says {
				if !strings.Contains("\n"+out.String(), want) {
					t.Errorf("does not say %q", want)
				}
			}
			for _, not := range row.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("says %q", not)
				}
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

func TestSeveralModules(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	code := run([]string{module(t, failing), module(t, passing), "--", "./..."}, true, &out, &out)
	if code != 1 || !strings.HasSuffix(out.String(), "\n1 passed, 2 failed, 0 skipped\n") {
		t.Errorf("status %d, output:\n%s", code, out.String())
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"./..."}, {"--", "./..."}, {"-nonsense", ".", "--"}} {
		var out strings.Builder
		if code := run(args, false, &out, &out); code != 2 || out.Len() == 0 {
			t.Errorf("%q: status %d, output %q", args, code, out.String())
		}
	}
}
