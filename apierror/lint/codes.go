package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// UndefinedCode reports codes that are sent, but that the catalog of the Renderer does not define.
var UndefinedCode = newAnalyzer("apierrorcode", undefinedCodeDoc, undefinedCode, new(definesFact), new(programFact))

const undefinedCodeDoc = `report codes that the catalog of the Renderer does not define

If a Code is not in the catalog of the Renderer, it is sent as 500. If a Definition is not in it,
it is missing from the API's reference page:

	var Catalog = apierror.MustCatalog(CardDeclined)

	rd := &apierror.Renderer{Catalog: Catalog}

	return apierror.Code("card_expired") // or CardExpired, a Definition

The analyzer finds the codes of a catalog in package variables and in calls of apierror.NewCatalog
and MustCatalog, in the package and in the packages that it imports.

A code is sent if a constant of type Code, or a Definition, is returned as an error, is the Code
of a Field, or has its New or Messagef method called. It is also sent if it is passed to
apierror.Write, apierror.From, fmt.Errorf, errors.Join, or to a function that gets a
ResponseWriter or returns an *apierror.Error. A code that is only compared is not sent.

A code is reported where it is sent, if that is in the package of the Renderer, or in a package of
the same module that imports it. A code of another package is reported at the Renderer. If a main
package imports the package of the Renderer, it is reported at the name of the main package. A
program may have several Renderers: a code that any of their catalogs defines is not reported. If
the codes of a catalog are known only at run time, nothing is reported.

If services with different catalogs share a package, the catalog of each must have all codes that
the package sends, because the analyzer does not know which functions a service calls. A directive
where the code is sent silences the finding for all of them.`

// definesFact is a fact about a variable or function of type Definition, []Definition or *Catalog:
// the codes that it defines, without the built-in ones.
type definesFact struct{ Codes []string }

func (*definesFact) AFact() {}

// programFact is a fact about a package and everything that it imports.
type programFact struct {
	Sent      []sentCode // not reported yet
	Defined   []string   // by package apierror, or by any catalog
	Unknown   bool       // a catalog has codes that are known only at run time
	Renderers []string   // the modules that have a Renderer with a known catalog
}

func (*programFact) AFact() {}

// sentCode is a code that a package sends.
type sentCode struct {
	Code  string
	Place string // the package's path, the file's name and the line, as in a.example/b/c.go:12

	pos token.Pos // in the package that is analyzed
}

// codes is the analysis of one package.
type codes struct {
	*pass
	fact       programFact
	sent       []sentCode              // by this package
	renderers  []ast.Node              // those with a known catalog
	values     map[*types.Var]ast.Expr // of the variables of the package
	reassigned map[*types.Var]bool
	functions  map[*types.Func]*ast.FuncDecl
	active     map[types.Object]bool // the objects that codesOf examines now, to end recursion
}

func undefinedCode(p *pass) {
	c := &codes{pass: p, values: make(map[*types.Var]ast.Expr), reassigned: make(map[*types.Var]bool),
		functions: make(map[*types.Func]*ast.FuncDecl), active: make(map[types.Object]bool)}
	for _, imported := range p.Pkg.Imports() {
		var f programFact
		if p.ImportPackageFact(imported, &f) {
			c.fact.Sent = append(c.fact.Sent, f.Sent...)
			c.fact.Defined = append(c.fact.Defined, f.Defined...)
			c.fact.Renderers = append(c.fact.Renderers, f.Renderers...)
			c.fact.Unknown = c.fact.Unknown || f.Unknown
		}
	}
	switch {
	case p.Pkg.Path() == apierrorPath:
		c.fact.Defined = builtin(p.Pkg)
	case len(c.fact.Defined) > 0: // the package uses apierror
		c.declarations()
		c.export()
		for _, file := range p.files {
			ast.PreorderStack(file, nil, func(n ast.Node, stack []ast.Node) bool {
				c.visit(n, stack)
				return true
			})
		}
		c.check()
	}
	f := &c.fact
	f.Defined, f.Renderers = sorted(f.Defined), sorted(f.Renderers)
	f.Sent = slices.CompactFunc(slices.SortedFunc(slices.Values(f.Sent), compareSent), func(a, b sentCode) bool { return compareSent(a, b) == 0 })
	if len(f.Sent)+len(f.Defined)+len(f.Renderers) > 0 || f.Unknown {
		p.ExportPackageFact(f)
	}
}

// builtin returns the codes that package apierror defines itself.
func builtin(api *types.Package) (list []string) {
	for _, name := range api.Scope().Names() {
		if c, ok := api.Scope().Lookup(name).(*types.Const); ok && c.Exported() && isType(c.Type(), apierrorPath, "Code") {
			list = append(list, constant.StringVal(c.Val()))
		}
	}
	return list
}

// check reports the codes that no catalog defines, if the codes of all catalogs are known.
func (c *codes) check() {
	module := ""
	if c.Module != nil {
		module = c.Module.Path
	}
	if len(c.renderers) > 0 {
		c.fact.Renderers = append(c.fact.Renderers, module)
	}
	defined := make(map[string]bool)
	for _, code := range c.fact.Defined {
		defined[code] = true
	}
	undefined := func(list []sentCode) []sentCode {
		return slices.DeleteFunc(list, func(code sentCode) bool { return defined[code.Code] })
	}
	c.sent, c.fact.Sent = undefined(c.sent), undefined(c.fact.Sent)
	if c.fact.Unknown || !slices.Contains(c.fact.Renderers, module) {
		c.fact.Sent = append(c.fact.Sent, c.sent...)
		return
	}
	const advice = "give its Definition to apierror.NewCatalog"
	for _, code := range c.sent {
		c.report(analysis.Diagnostic{Pos: code.pos,
			Message: fmt.Sprintf("the catalog of the Renderer does not define the code %q: %s", code.Code, advice)})
	}
	at := c.reportAt()
	if at == nil {
		return
	}
	for _, code := range slices.SortedFunc(slices.Values(c.fact.Sent), compareSent) {
		if !defined[code.Code] {
			defined[code.Code] = true // one finding for a code is enough
			c.report(analysis.Diagnostic{Pos: at.Pos(), End: at.End(),
				Message: fmt.Sprintf("the catalog of the Renderer does not define the code %q, which %s sends: %s", code.Code, code.Place, advice)})
		}
	}
	c.fact.Sent = nil
}

// reportAt returns where the codes of other packages are reported: at the Renderer, or in a main
// package at its name. It is nil for a package that others import and that has no Renderer.
func (c *codes) reportAt() ast.Node {
	switch {
	case len(c.renderers) > 0:
		return c.renderers[0]
	case c.Pkg.Name() == "main" && len(c.files) > 0:
		return c.files[0].Name
	default:
		return nil
	}
}

// visit finds catalogs, Renderers and the codes that are sent.
func (c *codes) visit(n ast.Node, stack []ast.Node) {
	switch n := n.(type) {
	case *ast.CompositeLit:
		switch t := c.TypesInfo.TypeOf(n); {
		case isType(t, apierrorPath, "Renderer"):
			if catalog := field(n, "Catalog"); catalog != nil {
				c.renderer(n, catalog)
			}
		case isType(t, apierrorPath, "Field"):
			if code := field(n, "Code"); code != nil {
				c.send(code)
			}
		}
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if sel, ok := left.(*ast.SelectorExpr); ok && sel.Sel.Name == "Catalog" && isType(c.TypesInfo.TypeOf(sel.X), apierrorPath, "Renderer") {
				if catalog := valueAt(n.Rhs, len(n.Lhs), i); catalog != nil {
					c.renderer(n, catalog)
				}
			}
			if value := valueAt(n.Rhs, len(n.Lhs), i); value != nil && isErrorInterface(c.TypesInfo.TypeOf(left)) {
				c.send(value)
			}
		}
	case *ast.ReturnStmt:
		if sig := c.enclosing(stack); sig != nil && len(n.Results) == sig.Results().Len() {
			for i, result := range n.Results {
				if isErrorInterface(sig.Results().At(i).Type()) {
					c.send(result)
				}
			}
		}
	case *ast.CallExpr:
		c.call(n, stack)
	}
}

func (c *codes) call(n *ast.CallExpr, stack []ast.Node) {
	f, ok := typeutil.Callee(c.TypesInfo, n).(*types.Func)
	if !ok || f.Pkg() == nil {
		return
	}
	switch {
	case isFunc(f, apierrorPath, "NewCatalog", "MustCatalog"):
		defined, ok := c.codesOf(n)
		c.fact.Defined = append(c.fact.Defined, defined...)
		c.fact.Unknown = c.fact.Unknown || !ok
	case isFunc(f, apierrorPath, "Write", "From"), isFunc(f, "errors", "Join"), isFunc(f, "fmt", "Errorf") && c.wraps(n):
		for _, arg := range n.Args {
			c.send(arg)
		}
	case f.Pkg().Path() == apierrorPath && f.Signature().Recv() != nil && (f.Name() == "New" || f.Name() == "Messagef"):
		if sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr); ok && !c.compared(stack) {
			c.send(sel.X)
		}
	case c.answers(n):
		for _, arg := range n.Args {
			c.send(arg)
		}
	}
}

// answers reports whether a call gets a ResponseWriter or returns an *apierror.Error, so that a
// code among its arguments is sent.
func (c *codes) answers(call *ast.CallExpr) bool {
	return isType(c.TypesInfo.TypeOf(call), apierrorPath, "Error") ||
		slices.ContainsFunc(call.Args, func(e ast.Expr) bool { return isType(c.TypesInfo.TypeOf(e), "net/http", "ResponseWriter") })
}

// wraps reports whether the format of a call of fmt.Errorf has a %w.
func (c *codes) wraps(call *ast.CallExpr) bool {
	format := c.TypesInfo.Types[call.Args[0]].Value
	return format != nil && strings.Contains(constant.StringVal(format), "%w")
}

// compared reports whether a path leads through a call of errors.Is or errors.As.
func (c *codes) compared(stack []ast.Node) bool {
	return slices.ContainsFunc(stack, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		return ok && isFunc(typeutil.Callee(c.TypesInfo, call), "errors", "Is", "As")
	})
}

// send records the code of a constant or Definition, unless a directive silences it.
func (c *codes) send(e ast.Expr) {
	t := c.TypesInfo.TypeOf(e)
	if !isType(t, apierrorPath, "Code") && !isType(t, apierrorPath, "Definition") {
		return
	}
	list, ok := c.codesOf(e)
	if !ok || c.ignoredAt(e.Pos()) == withReason {
		return
	}
	at := c.Fset.Position(e.Pos())
	for _, code := range list {
		c.sent = append(c.sent, sentCode{code, fmt.Sprintf("%s/%s:%d", c.Pkg.Path(), filepath.Base(at.Filename), at.Line), e.Pos()})
	}
}

// renderer records a Renderer with a catalog.
func (c *codes) renderer(n ast.Node, catalog ast.Expr) {
	if c.TypesInfo.Types[catalog].IsNil() {
		return
	}
	defined, ok := c.codesOf(catalog)
	if !ok {
		c.fact.Unknown = true
		return
	}
	c.fact.Defined = append(c.fact.Defined, defined...)
	c.renderers = append(c.renderers, n)
}

// enclosing returns the signature of the innermost function of a path.
func (c *codes) enclosing(stack []ast.Node) *types.Signature {
	for _, n := range slices.Backward(stack) {
		switch n := n.(type) {
		case *ast.FuncLit:
			sig, _ := c.TypesInfo.TypeOf(n).(*types.Signature)
			return sig
		case *ast.FuncDecl:
			if f, ok := c.TypesInfo.Defs[n.Name].(*types.Func); ok {
				return f.Signature()
			}
		}
	}
	return nil
}

func isErrorInterface(t types.Type) bool {
	return t != nil && types.Identical(t, types.Universe.Lookup("error").Type())
}

// field returns the value of a field in a literal with field names, or nil.
func field(lit *ast.CompositeLit, name string) ast.Expr {
	for _, element := range lit.Elts {
		if kv, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == name {
				return kv.Value
			}
		}
	}
	return nil
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func compareSent(a, b sentCode) int {
	return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Place, b.Place))
}
