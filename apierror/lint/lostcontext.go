package lint

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// LostContext reports calls of apierror.Write with a request that does not have the context of
// the handler's request.
var LostContext = newAnalyzer("apierrorcontext", lostContextDoc, lostContext)

const lostContextDoc = `report calls of apierror.Write with a request that lost its context

The context of the handler's request has the cancellation, the principal and the fields for the
log. It also has the Renderer and the request id, unless the ResponseWriter has them. The analyzer
reports a call of apierror.Write with a new request, or with a copy whose context comes from
context.Background or context.TODO:

	r = r.WithContext(context.Background())
	apierror.Write(w, r, err)

Pass the handler's request, or derive the context from r.Context(). To keep the values of a
context but not its cancellation, use context.WithoutCancel. The analyzer follows variables within
one function.`

func lostContext(p *pass) {
	if p.imported(apierrorPath) == nil {
		return
	}
	for _, f := range p.functions() {
		flow := newFlow(p, f)
		f.places(func(at place) {
			calls(at.node(), func(call *ast.CallExpr) {
				if isFunc(typeutil.Callee(p.TypesInfo, call), apierrorPath, "Write") && len(call.Args) == 3 && flow.is(isNewRequest, call.Args[1], at) {
					p.report(analysis.Diagnostic{Pos: call.Args[1].Pos(), End: call.Args[1].End(),
						Message: "this request does not have the context of the handler's request, so the cancellation, the principal and the " +
							"fields for the log are lost: pass the handler's request, or derive the context from r.Context()"})
				}
			})
		})
	}
}

// isNewRequest reports whether a request is new, or is a copy with a new context.
func isNewRequest(d *flow, e ast.Expr, at place) bool {
	switch e := e.(type) {
	case *ast.UnaryExpr: // &http.Request{}
		_, ok := ast.Unparen(e.X).(*ast.CompositeLit)
		return ok
	case *ast.CallExpr:
		switch f := typeutil.Callee(d.TypesInfo, e).(type) {
		case *types.Builtin:
			return f.Name() == "new" && d.TypesInfo.Types[e.Args[0]].IsType() // new(*r) is a copy
		case *types.Func:
			if f.Pkg() == nil || f.Pkg().Path() != "net/http" {
				return false
			}
			switch f.Name() {
			case "NewRequest", "ReadRequest":
				return true
			case "NewRequestWithContext", "WithContext", "Clone":
				return d.is(isNewContext, e.Args[0], at)
			}
		}
	}
	return false
}

// isNewContext reports whether a context is made from context.Background or context.TODO.
func isNewContext(d *flow, e ast.Expr, at place) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := typeutil.Callee(d.TypesInfo, call).(*types.Func)
	if !ok || f.Pkg() == nil || f.Pkg().Path() != "context" {
		return false
	}
	if f.Name() == "Background" || f.Name() == "TODO" {
		return true
	}
	return strings.HasPrefix(f.Name(), "With") && d.is(isNewContext, call.Args[0], at)
}
