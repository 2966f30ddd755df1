package lint

import (
	"flag"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/ctrlflow"
)

const (
	corePath     = "github.com/seawall-go/seawall"
	apierrorPath = corePath + "/apierror"
)

// pass is the analysis of one package, with what the analyzers share.
type pass struct {
	*analysis.Pass

	files   []*ast.File // those that are checked
	ignored map[*token.File]map[int]ignore
}

// ignore says how an //apierror:ignore directive applies to a line.
type ignore int

const (
	withoutReason ignore = iota + 1
	withReason
)

var directive = regexp.MustCompile(`^//apierror:ignore(\s+\S.*)?$`)

func newAnalyzer(name, doc string, run func(*pass), facts ...analysis.Fact) *analysis.Analyzer {
	a := &analysis.Analyzer{
		Name:      name,
		Doc:       doc,
		URL:       "https://pkg.go.dev/" + apierrorPath + "/lint",
		Requires:  []*analysis.Analyzer{ctrlflow.Analyzer},
		FactTypes: facts,
	}
	a.Flags.Bool("tests", false, "also check _test.go files")
	a.Run = func(p *analysis.Pass) (any, error) {
		run(newPass(p))
		return nil, nil
	}
	return a
}

func newPass(p *analysis.Pass) *pass {
	c := &pass{Pass: p, ignored: make(map[*token.File]map[int]ignore)}
	for _, f := range p.Files {
		file := p.Fset.File(f.FileStart)
		if ast.IsGenerated(f) || strings.HasSuffix(file.Name(), "_test.go") && !c.flag("tests") {
			continue
		}
		c.files = append(c.files, f)
		c.ignored[file] = ignoredLines(file, f)
	}
	return c
}

// ignoredLines returns the lines of a file to which a directive applies: its own line, and the next
// one.
func ignoredLines(file *token.File, f *ast.File) map[int]ignore {
	lines := make(map[int]ignore)
	for _, group := range f.Comments {
		for _, comment := range group.List {
			match := directive.FindStringSubmatch(comment.Text)
			if match == nil {
				continue
			}
			how := withoutReason
			if match[1] != "" {
				how = withReason
			}
			line := file.Line(comment.Pos())
			lines[line] = max(lines[line], how)
			lines[line+1] = max(lines[line+1], how)
		}
	}
	return lines
}

func (p *pass) flag(name string) bool {
	value, ok := p.Analyzer.Flags.Lookup(name).Value.(flag.Getter)
	return ok && value.Get() == true
}

// report reports a finding unless a directive with a reason applies to its line.
func (p *pass) report(d analysis.Diagnostic) {
	switch p.ignoredAt(d.Pos) {
	case withReason:
		return
	case withoutReason:
		d.Message += " (//apierror:ignore needs a reason)"
	}
	p.Report(d)
}

func (p *pass) ignoredAt(pos token.Pos) ignore {
	file := p.Fset.File(pos)
	return p.ignored[file][file.Line(pos)]
}

// imported returns the package with a path, or nil if the analyzed package does not import it
// directly.
func (p *pass) imported(path string) *types.Package {
	for _, imported := range p.Pkg.Imports() {
		if imported.Path() == path {
			return imported
		}
	}
	return nil
}

// usesCatalog reports whether the package imports apierror or the root package.
func (p *pass) usesCatalog() bool {
	return p.imported(apierrorPath) != nil || p.imported(corePath) != nil
}

// isFunc reports whether f is one of the functions, not methods, of a package.
func isFunc(f types.Object, path string, names ...string) bool {
	fn, ok := f.(*types.Func)
	return ok && fn.Pkg() != nil && fn.Pkg().Path() == path && fn.Signature().Recv() == nil && slices.Contains(names, fn.Name())
}

// isType reports whether t, or what it points to, is the named type of a package.
func isType(t types.Type, path, name string) bool {
	if t == nil {
		return false
	}
	if pointer, ok := types.Unalias(t).(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok {
		return false
	}
	obj := named.Obj()
	return obj.Pkg() != nil && obj.Pkg().Path() == path && obj.Name() == name
}

// isResponseWriter reports whether values of type t, or pointers to them, implement
// http.ResponseWriter.
func isResponseWriter(t types.Type) bool {
	header := method(t, "Header")
	if header == nil || header.Params().Len() != 0 || header.Results().Len() != 1 ||
		!isType(header.Results().At(0).Type(), "net/http", "Header") {
		return false
	}
	status := method(t, "WriteHeader")
	return status != nil && status.Params().Len() == 1 && isInt(status.Params().At(0).Type()) && isWriter(t)
}

// isWriter reports whether values of type t, or pointers to them, have a Write method for bytes.
func isWriter(t types.Type) bool {
	write := method(t, "Write")
	if write == nil || write.Params().Len() != 1 || write.Results().Len() != 2 {
		return false
	}
	slice, ok := write.Params().At(0).Type().Underlying().(*types.Slice)
	return ok && types.Identical(slice.Elem(), types.Typ[types.Byte])
}

func isBool(t types.Type) bool {
	return t != nil && types.Identical(t.Underlying(), types.Typ[types.Bool])
}

func isInt(t types.Type) bool { return types.Identical(t, types.Typ[types.Int]) }

// method returns the signature of an exported method of t or of pointers to it, or nil.
func method(t types.Type, name string) *types.Signature {
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, name)
	fn, ok := obj.(*types.Func)
	if !ok {
		return nil
	}
	return fn.Signature()
}

// object returns the object of an identifier, which may be qualified by a package's name. It is nil
// for any other expression.
func (p *pass) object(e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return p.TypesInfo.ObjectOf(e)
	case *ast.SelectorExpr:
		if _, ok := p.TypesInfo.Selections[e]; !ok {
			return p.TypesInfo.Uses[e.Sel]
		}
	}
	return nil
}

// variable returns the variable of an identifier, or nil if e is anything else.
func (p *pass) variable(e ast.Expr) *types.Var {
	v, _ := p.object(e).(*types.Var)
	return v
}

// root returns the variable that an assignment to e changes, or nil.
func (p *pass) root(e ast.Expr) *types.Var {
	for {
		switch inner := ast.Unparen(e).(type) {
		case *ast.IndexExpr:
			e = inner.X
		case *ast.StarExpr:
			e = inner.X
		case *ast.SelectorExpr:
			if v := p.variable(inner); v != nil {
				return v
			}
			e = inner.X
		default:
			return p.variable(e)
		}
	}
}

// signature returns the signature of the function that a call calls. It is nil for a conversion and
// for a built-in function.
func (p *pass) signature(call *ast.CallExpr) *types.Signature {
	fun := p.TypesInfo.Types[call.Fun]
	if fun.IsType() || fun.IsBuiltin() || fun.Type == nil {
		return nil
	}
	sig, _ := fun.Type.Underlying().(*types.Signature)
	return sig
}

// mentions reports whether an expression or statement uses one of the variables. It does not look
// into function literals.
func mentions[V any](p *pass, n ast.Node, variables map[*types.Var]V) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.Ident:
			if v, ok := p.TypesInfo.Uses[n].(*types.Var); ok {
				if _, ok := variables[v]; ok {
					found = true
				}
			}
		}
		return !found
	})
	return found
}
