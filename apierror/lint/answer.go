package lint

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/types/typeutil"
)

// answer is a call that answers a request with an error.
type answer struct {
	call   *ast.CallExpr
	name   string // of the function
	writer *types.Var
	err    *types.Var // the error, or nil if it is in no variable
}

// answersFact is about a function that always answers with an error. It has the indices of
// parameters: of the ResponseWriter, and of the error, or -1 if it makes the error itself.
type answersFact struct{ Writer, Err int }

func (*answersFact) AFact() {}

// wrapper returns what a function answers for its caller, or nil if it may not answer.
func (p *pass) wrapper(f *function, _ *ast.FuncDecl) *answersFact {
	if f.sig.Results().Len() > 0 {
		return nil
	}
	for _, stmt := range f.body.List {
		if a := p.answerIn(stmt); a != nil && f.param(a.writer) >= 0 {
			return &answersFact{Writer: f.param(a.writer), Err: f.param(a.err)}
		}
		if leaves(stmt) {
			break
		}
	}
	return nil
}

// leaves reports whether a statement may return or jump.
func leaves(stmt ast.Stmt) (found bool) {
	ast.Inspect(stmt, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt, *ast.BranchStmt:
			found = true
		}
		return true
	})
	return found
}

// answerIn returns the call that answers a request if that is the whole node, or nil.
func (p *pass) answerIn(n ast.Node) *answer {
	stmt, ok := n.(*ast.ExprStmt)
	if !ok {
		return nil
	}
	call, ok := ast.Unparen(stmt.X).(*ast.CallExpr)
	if !ok || len(call.Args) < 2 {
		return nil
	}
	a := &answer{call: call, writer: p.variable(call.Args[0])}
	switch f := typeutil.Callee(p.TypesInfo, call); {
	case isFunc(f, apierrorPath, "Write"):
		a.name = "apierror.Write"
		a.err = p.variable(call.Args[2])
	case isFunc(f, "net/http", "Error", "NotFound"):
		a.name = "http." + f.Name()
	default:
		var fact answersFact
		fn, ok := f.(*types.Func)
		if !ok || !p.ImportObjectFact(fn.Origin(), &fact) || max(fact.Writer, fact.Err) >= len(call.Args) {
			return nil
		}
		a.name, a.writer = types.ExprString(call.Fun), p.variable(call.Args[fact.Writer])
		if fact.Err >= 0 {
			a.err = p.variable(call.Args[fact.Err])
		}
	}
	if a.writer == nil || !isWriter(a.writer.Type()) || isType(a.writer.Type(), "net/http/httptest", "ResponseRecorder") {
		return nil
	}
	return a
}
