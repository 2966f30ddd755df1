package seawall_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/seawall-go/seawall"

// layout says what each package of the core module may import besides the standard library. A
// name that ends in /... covers what is below it; the most specific line counts. Where tests is
// set, its tests too are held to the list.
var layout = []struct {
	pkg   string
	may   []string
	tests bool
}{
	{pkg: ".", may: []string{"apierror", "internal/..."}},
	{pkg: "apierror", may: []string{"internal/..."}, tests: true},
	{pkg: "apierror/reference", may: []string{"apierror", "internal/..."}, tests: true},
	{pkg: "ratelimit", may: []string{"apierror", "internal/...", "golang.org/x/time/rate"}},
	{pkg: "ratelimit/ratelimittest", may: []string{"ratelimit"}},
	{pkg: "idempotent", may: []string{"apierror", "internal/..."}},
	{pkg: "idempotent/idempotenttest", may: []string{"idempotent"}},
	{pkg: "retry", may: []string{"apierror", "internal/...", "github.com/sony/gobreaker/v2", "golang.org/x/time/rate"}},
	{pkg: "internal/...", may: []string{"internal/..."}, tests: true},
	{pkg: "internal/idemtest", may: []string{"idempotent"}},
	{pkg: "cmd/...", may: []string{"apierror", "apierror/reference"}},
	{pkg: "examples/...", may: []string{".", "apierror", "ratelimit", "idempotent", "retry"}},
}

// goPackage is what "go list -json" tells of a package.
type goPackage struct {
	ImportPath, Name                   string
	Standard                           bool
	Imports, TestImports, XTestImports []string
	Module                             struct{ Path string }
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	packages := goList(t, ".", "-deps", "-test", "./...")
	standard := map[string]bool{"C": true}
	for _, p := range packages {
		standard[p.ImportPath] = p.Standard
	}
	for _, p := range packages {
		if p.Module.Path != modulePath || strings.Contains(p.ImportPath, " [") || strings.HasSuffix(p.ImportPath, ".test") {
			continue // not ours, or a variant of a package for its test
		}
		rel := relative(p.ImportPath)
		rule := -1
		for i, line := range layout {
			if matches(line.pkg, rel) && (rule < 0 || len(line.pkg) > len(layout[rule].pkg)) {
				rule = i
			}
		}
		require.GreaterOrEqual(t, rule, 0, "layout does not say what %s may import", rel)
		imports := p.Imports
		if layout[rule].tests {
			imports = append(append(imports, p.TestImports...), p.XTestImports...)
		}
		for _, imported := range imports {
			if standard[imported] || imported == p.ImportPath {
				continue
			}
			require.True(t, matchesAny(layout[rule].may, relative(imported)), "%s must not import %s", rel, imported)
		}
	}
}

func TestCoreBringsNoOtherModules(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, ".", "-deps", "./...") {
		switch p.Module.Path {
		case "", modulePath, "golang.org/x/time", "github.com/sony/gobreaker/v2":
		default:
			t.Errorf("%s of module %s", p.ImportPath, p.Module.Path)
		}
	}
}

// A published module beside the core may use the core's public packages and its own driver,
// never another one of them.
func TestNestedModulesStandAlone(t *testing.T) {
	t.Parallel()
	modules := nestedModules(t)
	for _, dir := range modules {
		if matchesAny([]string{"benchmarks", "examples/...", "internal/...", "tests/..."}, dir) {
			continue // these are not published and may use everything
		}
		for _, p := range goList(t, dir, "./...") {
			for _, imported := range p.Imports {
				rel := relative(imported)
				require.False(t, matches("internal/...", rel), "%s must not import %s", p.ImportPath, imported)
				for _, other := range modules {
					require.False(t, other != dir && matches(other+"/...", rel), "%s must not import %s", p.ImportPath, imported)
				}
			}
		}
	}
}

// Who imports only apierror gets one requirement and nothing to verify: not a line in go.sum.
func TestAPIErrorAloneAddsNothingToGoSum(t *testing.T) {
	t.Parallel()
	dir := build(t, map[string]string{"main.go": "package main\n\nimport _ \"" + modulePath + "/apierror\"\n\nfunc main() {}\n"})
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.Empty(t, string(sum))
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(goMod), "require"), "%s", goMod)
	require.NotContains(t, string(goMod), "// indirect")
}

// An example can be copied from the documentation: it uses nothing of other test files, and nothing
// internal.
func TestExamplesBuildOutsideOfTheModule(t *testing.T) {
	t.Parallel()
	examples := make(map[string]string)
	for _, p := range goList(t, ".", "./...") {
		dir := relative(p.ImportPath)
		files, err := filepath.Glob(filepath.Join(dir, "example*_test.go"))
		require.NoError(t, err)
		if !published(dir) {
			continue
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			examples[file] = string(text)
		}
	}
	require.NotEmpty(t, examples)
	build(t, examples)
}

// build builds a program that uses the core from outside, and returns its folder.
func build(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	dir = t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666))
	}
	write("go.mod", "module example.com/consumer\n\ngo 1.26.0\n\nrequire "+modulePath+" v0.0.0\n\nreplace "+modulePath+" => "+root+"\n")
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	write("go.sum", string(sums))
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		write(name, content)
	}
	goCommand(t, dir, "mod", "tidy")
	goCommand(t, dir, "vet", "./...")
	return dir
}

// relative turns an import path of this repository into a path below its root. Others stay as
// they are.
func relative(importPath string) string {
	if importPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(importPath, modulePath+"/")
}

func matches(pattern, pkg string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == parent || strings.HasPrefix(pkg, parent+"/")
	}
	return pkg == pattern
}

func matchesAny(patterns []string, pkg string) bool {
	for _, pattern := range patterns {
		if matches(pattern, pkg) {
			return true
		}
	}
	return false
}

// nestedModules returns the folders below the root that have their own go.mod.
func nestedModules(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.Name() == "go.mod" && path != "go.mod":
			dirs = append(dirs, filepath.ToSlash(filepath.Dir(path)))
		}
		return nil
	})
	require.NoError(t, err)
	return dirs
}

func goList(t *testing.T, dir string, args ...string) []goPackage {
	t.Helper()
	fields := "-json=ImportPath,Name,Standard,Imports,TestImports,XTestImports,Module"
	out := goCommand(t, dir, append([]string{"list", fields}, args...)...)
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p goPackage
		require.NoError(t, dec.Decode(&p))
		packages = append(packages, p)
	}
	require.NotEmpty(t, packages)
	return packages
}

// goCommand runs the go command on the module in dir, as it is and without the network, and
// returns what it printed.
func goCommand(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return out
}

// A published module uses no other one, so pgstore and sqlstore have the statements twice. A
// service can use both on the same tables.
func TestStoresInDatabasesHaveTheSameStatements(t *testing.T) {
	t.Parallel()
	read := func(file string) string {
		text, err := os.ReadFile(filepath.FromSlash(file))
		require.NoError(t, err)
		return string(text)
	}
	files, err := filepath.Glob("idempotent/pgstore/sql/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(file)
		if name != "wait.sql" && name != "record.sql" && name != "relax.sql" { // for what pgx can do
			require.Equal(t, read(file), read("idempotent/sqlstore/sql/"+name), name)
		}
	}
}
