package lint

import (
	"go/ast"
	"go/types"
)

// handlerFuncs returns the functions of the package that are used as an apierror.HandlerFunc.
func (p *pass) handlerFuncs() map[ast.Node]bool {
	decls := make(map[types.Object]ast.Node)
	for _, file := range p.files {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				decls[p.TypesInfo.Defs[f.Name]] = f
			}
		}
	}
	found := make(map[ast.Node]bool)
	use := func(t types.Type, e ast.Expr) {
		if !isType(t, apierrorPath, "HandlerFunc") {
			return
		}
		switch e := ast.Unparen(e).(type) {
		case *ast.FuncLit:
			found[e] = true
		case *ast.Ident:
			found[decls[p.TypesInfo.Uses[e]]] = true
		case *ast.SelectorExpr:
			found[decls[p.TypesInfo.Uses[e.Sel]]] = true
		}
	}
	for _, f := range p.functions() {
		ast.Inspect(f.body, func(n ast.Node) bool {
			if ret, ok := n.(*ast.ReturnStmt); ok && len(ret.Results) == f.sig.Results().Len() {
				for i, result := range ret.Results {
					use(f.sig.Results().At(i).Type(), result)
				}
			}
			_, nested := n.(*ast.FuncLit)
			return !nested
		})
	}
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun := p.TypesInfo.Types[call.Fun]
			if fun.IsType() && len(call.Args) == 1 {
				use(fun.Type, call.Args[0])
			} else if sig := p.signature(call); sig != nil {
				for i, arg := range call.Args {
					if i < sig.Params().Len() {
						use(sig.Params().At(i).Type(), arg)
					}
				}
			}
			return true
		})
	}
	delete(found, nil)
	return found
}
