package seawall_test

import (
	"flag"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateAPI = flag.Bool("update-api", false, "write api.txt")

// A change of the exported API shows in the diff of api.txt. `make api` writes the file.
func TestAPIIsInFile(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, module := range append([]string{"."}, nestedModules(t)...) {
		for _, p := range goList(t, module, "./...") {
			if dir := relative(p.ImportPath); published(dir) {
				lines = append(lines, exportedAPI(t, p.Name, dir)...)
			}
		}
	}
	if *updateAPI {
		require.NoError(t, os.WriteFile("api.txt", []byte(strings.Join(lines, "\n")+"\n"), 0o666))
	}
	written, err := os.ReadFile("api.txt")
	require.NoError(t, err)
	was := strings.Split(strings.TrimSuffix(string(written), "\n"), "\n")
	require.Empty(t, missingFrom(lines, was), "not exported any more: run `make api`, and tell users in CHANGELOG.md")
	require.Empty(t, missingFrom(was, lines), "exported, and not in api.txt: run `make api`, and check its diff")
	require.Equal(t, was, lines, "the order has changed: run `make api`")
}

// missingFrom returns the lines that are not in the list.
func missingFrom(list, lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(list, line) })
}

// published reports whether others may import the package in a folder.
func published(dir string) bool {
	return !matchesAny([]string{"internal/...", "examples/...", "benchmarks/...", "tests/..."}, dir)
}

// exportedAPI returns a line for each exported constant, variable, function, type, field and method
// of the package in dir.
func exportedAPI(t *testing.T, name, dir string) []string {
	t.Helper()
	fset := token.NewFileSet()
	p := parsePackage(t, fset, dir)
	var lines []string
	add := func(parts ...string) { lines = append(lines, name+": "+strings.Join(parts, "")) }
	text := func(n any) string {
		var b strings.Builder
		require.NoError(t, printer.Fprint(&b, fset, n))
		return strings.Join(strings.Fields(b.String()), " ")
	}
	values := func(values []*doc.Value) {
		for _, v := range values {
			for _, spec := range v.Decl.Specs {
				spec := spec.(*ast.ValueSpec)
				spec.Doc, spec.Comment = nil, nil
				if v.Decl.Tok == token.VAR {
					spec.Values = nil
				}
				if spec.Names[0].IsExported() {
					add(v.Decl.Tok.String(), " ", text(spec))
				}
			}
		}
	}
	functions := func(functions []*doc.Func) {
		for _, f := range functions {
			f.Decl.Doc, f.Decl.Body = nil, nil
			add(text(f.Decl))
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions(p.Funcs)
	for _, typ := range p.Types {
		spec := typ.Decl.Specs[0].(*ast.TypeSpec)
		switch of := spec.Type.(type) {
		case *ast.StructType:
			add("type ", typ.Name, " struct")
			for _, field := range of.Fields.List {
				if len(field.Names) == 0 && ast.IsExported(text(field.Type)) {
					add(typ.Name, " embeds ", text(field.Type))
				}
				for _, name := range field.Names {
					if name.IsExported() {
						add(typ.Name, ".", name.Name, " ", text(field.Type))
					}
				}
			}
		case *ast.InterfaceType:
			add("type ", typ.Name, " interface")
			for _, method := range of.Methods.List {
				if len(method.Names) == 0 {
					add(typ.Name, " embeds ", text(method.Type))
				} else if method.Names[0].IsExported() {
					add(typ.Name, ".", method.Names[0].Name, strings.TrimPrefix(text(method.Type), "func"))
				}
			}
		default:
			spec.Doc, spec.Comment = nil, nil
			add("type ", text(spec))
		}
		values(typ.Consts)
		values(typ.Vars)
		functions(typ.Funcs)
		functions(typ.Methods)
	}
	return lines
}

// parsePackage returns what the package in dir exports, without its tests.
func parsePackage(t *testing.T, fset *token.FileSet, dir string) *doc.Package {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			file, err := parser.ParseFile(fset, path, nil, 0)
			require.NoError(t, err)
			files = append(files, file)
		}
	}
	p, err := doc.NewFromFiles(fset, files, dir)
	require.NoError(t, err)
	return p
}
