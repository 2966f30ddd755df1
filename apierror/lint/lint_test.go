package lint_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"

	"github.com/seawall-go/seawall/apierror/lint"
)

// The testdata is a separate module that uses the apierror of this repository, so the analyzers and
// apierror cannot drift apart. As for package analysistest, a comment with "want" has a regular
// expression for each expected finding on its line. The tests do not use analysistest, because it
// loads the module from source for each analyzer, which is slow.

// finding is a finding of an analyzer, or what is expected of one.
type finding struct {
	line string // relative to testdata, as in bypass/found.go:12
	text string // the message, or a regular expression
}

func TestAnalyzersFindWhatTestdataExpects(t *testing.T) {
	t.Parallel()
	loaded, err := packages.Load(&packages.Config{
		Mode:    packages.LoadAllSyntax | packages.NeedModule,
		Context: t.Context(),
		Dir:     "testdata",
		Env:     append(os.Environ(), "GOWORK=off", "GOPROXY=off"),
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	graph, err := checker.Analyze(lint.Analyzers(), loaded, &checker.Options{SanityCheck: true})
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var got []finding
	for _, action := range graph.Roots {
		if action.Err != nil {
			t.Fatalf("%s: %v", action, action.Err)
		}
		for _, d := range action.Diagnostics {
			at := action.Package.Fset.Position(d.Pos)
			file, err := filepath.Rel(root, at.Filename)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, finding{fmt.Sprintf("%s:%d", filepath.ToSlash(file), at.Line), d.Message})
		}
	}
	requireExpected(t, got)
}

// With go vet, facts go from package to package through files, and types through export data.
func TestVetFindsWhatTestdataExpects(t *testing.T) {
	t.Parallel()
	got, _ := vet(t, "testdata", "./...")
	requireExpected(t, got)
}

// requireExpected fails the test unless each finding is expected, and each expected one is found.
func requireExpected(t *testing.T, got []finding) {
	t.Helper()
	want := expected(t)
	if len(want) < 10 {
		t.Fatalf("the testdata expects only %d findings", len(want))
	}
	for _, g := range got {
		i := slices.IndexFunc(want, func(w finding) bool {
			return w.line == g.line && regexp.MustCompile(w.text).MatchString(g.text)
		})
		if i < 0 {
			t.Errorf("%s: unexpected: %s", g.line, g.text)
			continue
		}
		want = slices.Delete(want, i, i+1)
	}
	for _, w := range want {
		t.Errorf("%s: not found: %s", w.line, w.text)
	}
}

var quoted = regexp.MustCompile("`[^`]*`")

// expected returns what the testdata expects.
func expected(t *testing.T) (list []finding) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("testdata"), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := fs.ReadFile(os.DirFS("testdata"), path)
		for i, line := range strings.Split(string(text), "\n") {
			if _, comment, ok := strings.Cut(line, "// want "); ok {
				for _, pattern := range quoted.FindAllString(comment, -1) {
					list = append(list, finding{fmt.Sprintf("%s:%d", path, i+1), strings.Trim(pattern, "`")})
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
