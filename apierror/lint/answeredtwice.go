package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/cfg"
	"golang.org/x/tools/go/types/typeutil"
)

// AnsweredTwice reports calls of apierror.Write after which the handler continues as if there
// were no error, most often because a return is missing.
var AnsweredTwice = newAnalyzer("apierrortwice", answeredTwiceDoc, answeredTwice, new(answersFact))

const answeredTwiceDoc = `report handlers that continue after apierror.Write

After apierror.Write, the request is answered, and the handler should return:

	if err != nil {
		apierror.Write(w, r, err) // a return is missing
	}
	json.NewEncoder(w).Encode(order)

The analyzer reports a call of apierror.Write, http.Error or http.NotFound if the handler can then
write to the same ResponseWriter, or pass it to another function. It also reports such a call if
the handler can then leave the branch with the call and do work that can fail, such as
store.Delete(ctx, id). A call can fail if its last result is an error. Logging, metrics, closing,
cleaning up and deferred calls do not count. Neither does work that also follows a success that
has been answered.

A call of a function that always calls apierror.Write for its caller, such as fail(w, r, err),
counts as a call of apierror.Write. The function must have a name and no results.

It also reports an apierror.HandlerFunc that writes an error and then returns it. HandlerFunc
itself writes the error that its function returns.`

func answeredTwice(p *pass) {
	if !p.usesCatalog() {
		return
	}
	functions, returning := p.functions(), p.handlerFuncs()
	exportFacts(p, functions, p.wrapper)
	for _, f := range functions {
		f.places(func(at place) {
			if a := p.answerIn(at.node()); a != nil {
				w := &walk{pass: p, function: f, answer: a, returns: returning[f.node],
					seen: make(map[*cfg.Block]bool), changed: make(map[*types.Var]bool)}
				w.without = f.reachableWithout(at, w.succeeds)
				w.from(at.block, at.index+1, p.conditions(f.body, a.call))
			}
		})
	}
}

// walk follows control from an answer until it finds something that must not follow it.
type walk struct {
	*pass
	*function
	*answer
	returns bool                // the function is an apierror.HandlerFunc
	without map[*cfg.Block]bool // the blocks that control can also enter without any answer
	seen    map[*cfg.Block]bool
	changed map[*types.Var]bool // the variables that were assigned since the answer
}

// from follows control from a node of a block. It reports at most one finding, and returns true if
// it reported one.
func (w *walk) from(b *cfg.Block, index int, known known) (found bool) {
	joined := index == 0 && w.without[b] // the code also runs if there was no error
	for _, n := range b.Nodes[index:] {
		if w.check(n, joined, known) {
			return true
		}
		known = w.assign(n, known)
		if w.changed[w.writer] {
			return false // another response
		}
		if w.isTag(n) && w.asks(n) {
			return false
		}
	}
	if len(b.Succs) != 2 || len(b.Nodes) == 0 {
		return w.enter(b.Succs, known)
	}
	condition, ok := b.Nodes[len(b.Nodes)-1].(ast.Expr)
	if !ok {
		return w.enter(b.Succs, known)
	}
	switch value, ok := w.eval(condition, known); {
	case ok && value:
		return w.enter(b.Succs[:1], known)
	case ok:
		return w.enter(b.Succs[1:], known)
	case w.asks(condition):
		return false
	default:
		return w.enter(b.Succs, known)
	}
}

// asks reports whether a condition may depend on whether the handler has answered.
func (w *walk) asks(condition ast.Node) bool {
	return mentions(w.pass, condition, w.changed) || mentions(w.pass, condition, map[*types.Var]bool{w.err: true})
}

// isTag reports whether a node is the tag of a switch statement.
func (w *walk) isTag(n ast.Node) (found bool) {
	ast.Inspect(w.body, func(parent ast.Node) bool {
		s, ok := parent.(*ast.SwitchStmt)
		found = found || ok && s.Tag == n
		return !found
	})
	return found
}

func (w *walk) enter(blocks []*cfg.Block, known known) (found bool) {
	for _, b := range blocks {
		if w.seen[b] {
			continue
		}
		w.seen[b] = true
		if w.from(b, 0, known) {
			return true
		}
	}
	return false
}

// check reports a node that should not be reached, and whether it is one.
func (w *walk) check(n ast.Node, joined bool, known known) (found bool) {
	calls(n, func(call *ast.CallExpr) {
		if found || !w.answers(call) && (!joined || w.param(w.writer) < 0 || !w.works(call)) {
			return
		}
		found = true
		w.report(analysis.Diagnostic{
			Pos: w.call.Pos(), End: w.call.End(),
			Message: fmt.Sprintf("the handler calls %s after %s has answered: add a return", types.ExprString(call.Fun), w.name),
			Related: []analysis.RelatedInformation{{Pos: call.Pos(), End: call.End(), Message: "this is called after the answer"}},
		})
	})
	if ret, ok := n.(*ast.ReturnStmt); ok && !found && w.returns && len(ret.Results) == 1 && w.isError(ret.Results[0], known) {
		found = true
		w.report(analysis.Diagnostic{
			Pos: w.call.Pos(), End: w.call.End(),
			Message: fmt.Sprintf("apierror.HandlerFunc writes the error that is returned, but %s has already answered: return the error without writing it", w.name),
			Related: []analysis.RelatedInformation{{Pos: ret.Pos(), End: ret.End(), Message: "the error is returned here"}},
		})
	}
	return found
}

// succeeds reports whether a node seems to answer too. The arguments of its calls show it: it
// writes to the response, or runs a handler.
func (w *walk) succeeds(n ast.Node) (found bool) {
	calls(n, func(call *ast.CallExpr) {
		if !w.answers(call) {
			return
		}
		reads := slices.ContainsFunc(call.Args, func(e ast.Expr) bool { return isType(w.TypesInfo.TypeOf(e), "net/http", "Request") })
		found = found || !reads || len(call.Args) == 2 && !isBool(w.TypesInfo.TypeOf(call))
	})
	return found
}

// answers reports whether a call writes to the response, or hands the writer to a function that
// can.
func (w *walk) answers(call *ast.CallExpr) bool {
	if sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && w.variable(sel.X) == w.writer {
		switch sel.Sel.Name {
		case "Write", "WriteHeader", "WriteString", "ReadFrom":
			return true
		}
	}
	sig := w.signature(call)
	if sig == nil || isFunc(typeutil.Callee(w.TypesInfo, call), "net/http", "NewResponseController", "MaxBytesReader") {
		return false
	}
	if isNoWork(typeutil.Callee(w.TypesInfo, call)) {
		return false
	}
	for i, arg := range call.Args {
		if w.variable(arg) == w.writer && i < sig.Params().Len() && isWriter(sig.Params().At(i).Type()) {
			return true
		}
	}
	return false
}

// isError reports whether a result is certainly an error: the error that was written, a variable
// that is known not to be nil, or a code.
func (w *walk) isError(e ast.Expr, known known) bool {
	t := w.TypesInfo.TypeOf(e)
	if isType(t, apierrorPath, "Code") || isType(t, apierrorPath, "Definition") {
		return true
	}
	if v := w.variable(e); v != nil {
		return known[v] || v == w.err && !w.changed[v]
	}
	return isType(t, apierrorPath, "Error")
}

// opposites maps comparison operators to their negations, so that conditionText uses only one of
// each pair.
var opposites = map[token.Token]token.Token{token.NEQ: token.EQL, token.GEQ: token.LSS, token.GTR: token.LEQ}
