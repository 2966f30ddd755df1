package lint

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// Bypass reports errors that are answered by hand instead of with the error object: uses of
// http.Error, http.NotFound, http.NotFoundHandler and http.TimeoutHandler, and calls of
// WriteHeader with a constant 4xx or 5xx.
var Bypass = newBypass()

const bypassDoc = `report errors that are answered by hand instead of with the error object

The analyzer reports uses of http.Error, http.NotFound, http.NotFoundHandler and
http.TimeoutHandler, and calls of a ResponseWriter's WriteHeader with a constant 4xx or 5xx:

	http.Error(w, "no such order", http.StatusNotFound)

Clients cannot read such an answer: it has no code and no request id. Return an error from an
apierror.HandlerFunc instead, or call apierror.Write:

	return apierror.ResourceMissing("order")

Only packages that import apierror or seawall are checked, unless the flag -all is set. A status
in a variable is not reported, nor is anything in the methods of a ResponseWriter.`

func newBypass() *analysis.Analyzer {
	a := newAnalyzer("apierrorbypass", bypassDoc, bypass)
	a.Flags.Bool("all", false, "check packages that import neither apierror nor seawall too")
	return a
}

// instead says what to use instead of a function of net/http.
var instead = map[string]string{
	"Error":           "return an error from an apierror.HandlerFunc, or call apierror.Write",
	"NotFound":        "return apierror.CodeResourceMissing from an apierror.HandlerFunc, or call apierror.Write",
	"NotFoundHandler": "use an apierror.HandlerFunc that returns apierror.CodeResourceMissing",
	"TimeoutHandler":  "use seawall.Timeout",
}

func bypass(p *pass) {
	if !p.usesCatalog() && !p.flag("all") {
		return
	}
	for _, file := range p.files {
		ok := make(map[*ast.Ident]bool) // names of http.Error where its status is no error
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
						Message: fmt.Sprintf("WriteHeader(%d) bypasses the catalog: %s", status, instead["Error"])})
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

// writesError returns the status of a call of WriteHeader with a constant 4xx or 5xx.
func (p *pass) writesError(call *ast.CallExpr) (status int64, ok bool) {
	f, isMethod := typeutil.Callee(p.TypesInfo, call).(*types.Func)
	sel, isSelector := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !isMethod || !isSelector || f.Name() != "WriteHeader" || len(call.Args) != 1 {
		return 0, false
	}
	writer := p.TypesInfo.TypeOf(sel.X)
	if !isResponseWriter(writer) || isType(writer, "net/http/httptest", "ResponseRecorder") {
		return 0, false
	}
	status, ok = p.status(call.Args[0])
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
