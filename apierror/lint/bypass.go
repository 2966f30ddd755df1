package lint

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// Bypass reports errors that are written by hand instead of as the error object: uses of
// http.Error, http.NotFound, http.NotFoundHandler and http.TimeoutHandler, and calls of
// WriteHeader with a constant 4xx or 5xx.
var Bypass = newBypass()

const bypassDoc = `report errors that are written by hand instead of as the error object

The analyzer reports uses of http.Error, http.NotFound, http.NotFoundHandler and
http.TimeoutHandler, and calls of a ResponseWriter's WriteHeader with a constant 4xx or 5xx:

	http.Error(w, "no such order", http.StatusNotFound)

Clients cannot handle such a response: it has no code and no request id. Return an error from an
apierror.HandlerFunc instead, or call apierror.Write:

	return apierror.ResourceMissing("order")

A function that passes a parameter on to WriteHeader counts as WriteHeader:

	writeJSON(w, http.StatusNotFound, body)

Only packages that import apierror or seawall are checked, unless the flag -all is set. The
analyzer ignores a status in a variable, and the methods of types that are ResponseWriters.`

func newBypass() *analysis.Analyzer {
	a := newAnalyzer("apierrorbypass", bypassDoc, bypass, new(statusFact))
	a.Flags.Bool("all", false, "also check packages that import neither apierror nor seawall")
	return a
}

// instead has the advice for each function of net/http that is reported.
var instead = map[string]string{
	"Error":           "return an error from an apierror.HandlerFunc, or call apierror.Write",
	"NotFound":        "return apierror.CodeResourceMissing from an apierror.HandlerFunc, or call apierror.Write",
	"NotFoundHandler": "use an apierror.HandlerFunc that returns apierror.CodeResourceMissing",
	"TimeoutHandler":  "use seawall.Timeout",
}

// statusFact is about a function or method that writes a response with the status that is its
// parameter of this index.
type statusFact struct{ Param int }

func (*statusFact) AFact() {}

func bypass(p *pass) {
	if p.imported("net/http") == nil {
		return
	}
	exportFacts(p, p.functions(), p.statusParam)
	if !p.usesCatalog() && !p.flag("all") {
		return
	}
	for _, file := range p.files {
		ok := make(map[*ast.Ident]bool) // the names of http.Error in calls with a status under 400
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return n.Recv == nil || !isResponseWriter(p.TypesInfo.TypeOf(n.Recv.List[0].Type))
			case *ast.CallExpr:
				if len(n.Args) == 3 && isFunc(typeutil.Callee(p.TypesInfo, n), "net/http", "Error") && p.isSuccess(n.Args[2]) {
					if sel, is := ast.Unparen(n.Fun).(*ast.SelectorExpr); is {
						ok[sel.Sel] = true
					}
				}
				if status, is := p.writesError(n); is {
					p.report(analysis.Diagnostic{Pos: n.Pos(), End: n.End(),
						Message: fmt.Sprintf("%s with status %d bypasses the catalog: %s", types.ExprString(n.Fun), status, instead["Error"])})
				}
			case *ast.Ident:
				f := p.TypesInfo.Uses[n]
				if f != nil && !ok[n] && instead[f.Name()] != "" && isFunc(f, "net/http", f.Name()) {
					p.report(analysis.Diagnostic{Pos: n.Pos(), End: n.End(),
						Message: fmt.Sprintf("http.%s bypasses the catalog: %s", f.Name(), instead[f.Name()])})
				}
			}
			return true
		})
	}
}

// statusParam returns which parameter of a function is the status that it writes, or nil. The
// methods of a ResponseWriter only pass a status on.
func (p *pass) statusParam(f *function, decl *ast.FuncDecl) (fact *statusFact) {
	if decl.Recv != nil && isResponseWriter(p.TypesInfo.TypeOf(decl.Recv.List[0].Type)) {
		return nil
	}
	ast.Inspect(f.body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || fact != nil {
			return true
		}
		if i := f.param(p.variable(p.statusArg(call))); i >= 0 {
			fact = &statusFact{i}
		}
		return true
	})
	return fact
}

// statusArg returns the status that a call writes, or nil.
func (p *pass) statusArg(call *ast.CallExpr) ast.Expr {
	f, ok := typeutil.Callee(p.TypesInfo, call).(*types.Func)
	if !ok || isFunc(f, "net/http", f.Name()) {
		return nil
	}
	if f.Name() == "WriteHeader" && len(call.Args) == 1 {
		sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
		if !ok {
			return nil
		}
		writer := p.TypesInfo.TypeOf(sel.X)
		if !isResponseWriter(writer) || isType(writer, "net/http/httptest", "ResponseRecorder") {
			return nil
		}
		return call.Args[0]
	}
	var fact statusFact
	if !p.ImportObjectFact(f.Origin(), &fact) || fact.Param >= len(call.Args) {
		return nil
	}
	return call.Args[fact.Param]
}

// writesError returns the constant 4xx or 5xx that a call writes.
func (p *pass) writesError(call *ast.CallExpr) (status int64, ok bool) {
	arg := p.statusArg(call)
	if arg == nil {
		return 0, false
	}
	status, ok = p.status(arg)
	return status, ok && status >= 400 && status <= 599
}

// isSuccess reports whether a status is a constant under 400.
func (p *pass) isSuccess(e ast.Expr) bool {
	status, ok := p.status(e)
	return ok && status < 400
}

func (p *pass) status(e ast.Expr) (status int64, ok bool) {
	value := p.TypesInfo.Types[e].Value
	if value == nil {
		return 0, false
	}
	return constant.Int64Val(constant.ToInt(value))
}
