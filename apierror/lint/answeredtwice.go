package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/cfg"
	"golang.org/x/tools/go/types/typeutil"
)

// AnsweredTwice reports calls of apierror.Write after which the handler continues as if there
// were no error, most often because a return is missing.
var AnsweredTwice = newAnalyzer("apierrortwice", answeredTwiceDoc, answeredTwice)

const answeredTwiceDoc = `report handlers that continue after apierror.Write

After apierror.Write, the request is answered, and the handler should return:

	if err != nil {
		apierror.Write(w, r, err) // a return is missing
	}
	json.NewEncoder(w).Encode(order)

The analyzer reports a call of apierror.Write, http.Error or http.NotFound if control can reach a
statement that writes to the same ResponseWriter, or hands it on, or if it leaves the branch
with the call and reaches work that can fail, such as store.Delete(ctx, id). Work that can fail
is a call whose last result is an error. Logging, metrics, closing, cleaning up and deferred calls
are no work.

It also reports an apierror.HandlerFunc that writes an error and then returns it: HandlerFunc
writes what its function returns.`

// answer is a call that answers a request with an error.
type answer struct {
	place
	call   *ast.CallExpr
	name   string     // of the function
	writer *types.Var // the first argument
	err    *types.Var // the error, or nil if it is in no variable
}

func answeredTwice(p *pass) {
	if !p.usesCatalog() {
		return
	}
	returning := p.handlerFuncs()
	for _, f := range p.functions() {
		f.places(func(at place) {
			if a := p.answerAt(at); a != nil {
				w := &walk{pass: p, function: f, answer: a, returns: returning[f.node], without: f.reachableWithout(at),
					seen: make(map[*cfg.Block]bool), changed: make(map[*types.Var]bool)}
				w.from(at.block, at.index+1, p.conditions(f.body, a.call))
			}
		})
	}
}

// answerAt returns the call that answers a request at a place, or nil.
func (p *pass) answerAt(at place) *answer {
	stmt, ok := at.node().(*ast.ExprStmt)
	if !ok {
		return nil
	}
	call, ok := ast.Unparen(stmt.X).(*ast.CallExpr)
	if !ok || len(call.Args) < 2 {
		return nil
	}
	a := &answer{place: at, call: call, writer: p.variable(call.Args[0])}
	switch f := typeutil.Callee(p.TypesInfo, call); {
	case isFunc(f, apierrorPath, "Write"):
		a.name = "apierror.Write"
		a.err = p.variable(call.Args[2])
	case isFunc(f, "net/http", "Error", "NotFound"):
		a.name = "http." + f.Name()
	default:
		return nil
	}
	if a.writer == nil || isType(a.writer.Type(), "net/http/httptest", "ResponseRecorder") {
		return nil
	}
	return a
}

// walk follows control from an answer until it finds something that should not happen after it.
type walk struct {
	*pass
	*function
	*answer
	returns bool                // the function is an apierror.HandlerFunc
	without map[*cfg.Block]bool // the blocks that control can also enter without the answer
	seen    map[*cfg.Block]bool
	changed map[*types.Var]bool // the variables that were assigned since the answer
}

// known holds what conditions say about variables: a boolean is true, or another is not nil.
type known map[*types.Var]bool

// from follows control from a node of a block. It reports at most one finding, and returns true
// if it has.
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
	case mentions(w.pass, condition, w.changed), mentions(w.pass, condition, map[*types.Var]bool{w.err: true}):
		return false // the handler may well ask whether it has answered
	default:
		return w.enter(b.Succs, known)
	}
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
		if found || !w.answers(call) && (!joined || !w.hasParam(w.writer) || !w.works(call)) {
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
			Message: fmt.Sprintf("apierror.HandlerFunc answers the error that is returned after %s has answered: return it without writing it", w.name),
			Related: []analysis.RelatedInformation{{Pos: ret.Pos(), End: ret.End(), Message: "the error is returned here"}},
		})
	}
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
	sig, ok := w.TypesInfo.TypeOf(call.Fun).(*types.Signature)
	if !ok || isFunc(typeutil.Callee(w.TypesInfo, call), "net/http", "NewResponseController", "MaxBytesReader") {
		return false
	}
	for i, arg := range call.Args {
		if w.variable(arg) == w.writer && i < sig.Params().Len() && isWriter(sig.Params().At(i).Type()) {
			return true
		}
	}
	return false
}

var (
	// noWork has the first words of the names of functions that handlers call after an answer.
	noWork = words("close rollback flush sync shutdown release unlock log logf print printf println record observe " +
		"report track trace audit emit notify wait end finish done clean cleanup err cause unwrap")
	// noWorkIn has the last elements of the paths of packages whose functions are no work.
	noWorkIn = words("fmt errors log logs logger logging slog zap zerolog logrus logr glog klog " +
		"metric metrics prometheus otel trace tracing audit sentry apierror")

	firstWord = regexp.MustCompile(`^[A-Z]?[a-z]+`)
)

func words(list string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(list) {
		set[word] = true
	}
	return set
}

// works reports whether a call can fail, and is not of the kind that follows an answer.
func (w *walk) works(call *ast.CallExpr) bool {
	sig, ok := w.TypesInfo.TypeOf(call.Fun).(*types.Signature)
	if !ok || sig.Results().Len() == 0 {
		return false
	}
	last := sig.Results().At(sig.Results().Len() - 1).Type()
	if !types.Identical(last, types.Universe.Lookup("error").Type()) {
		return false
	}
	f := typeutil.Callee(w.TypesInfo, call)
	if f == nil {
		return true // a function in a variable
	}
	if f.Pkg() != nil && noWorkIn[path.Base(f.Pkg().Path())] || noWork[strings.ToLower(firstWord.FindString(f.Name()))] {
		return false
	}
	drains := isFunc(f, "io", "Copy", "CopyN") && isDiscard(w.object(call.Args[0]))
	removes := f.Name() == "Remove" || f.Name() == "RemoveAll" // temporary files
	return !drains && !removes
}

func isDiscard(obj types.Object) bool {
	return obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == "io" && obj.Name() == "Discard"
}

// isError reports whether a result is surely an error: what was written, what a condition says
// is not nil, or a code.
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

// assign returns what is known after a node.
func (w *walk) assign(n ast.Node, before known) known {
	after := before
	set := func(e, value ast.Expr) {
		v := w.variable(e)
		if v == nil {
			return
		}
		after = without(after, v)
		w.changed[v] = true
		if value == nil {
			return
		}
		switch tv := w.TypesInfo.Types[value]; {
		case tv.IsNil():
			after[v] = false
		case tv.Value != nil && types.Identical(v.Type().Underlying(), types.Typ[types.Bool]):
			after[v] = tv.Value.String() == "true"
		}
	}
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if len(n.Rhs) == len(n.Lhs) {
				set(left, n.Rhs[i])
			} else {
				set(left, nil)
			}
		}
	case *ast.ValueSpec:
		for _, name := range n.Names {
			set(name, nil)
		}
	case *ast.IncDecStmt:
		set(n.X, nil)
	}
	return after
}

func without(k known, v *types.Var) known {
	c := make(known, len(k))
	for other, value := range k {
		if other != v {
			c[other] = value
		}
	}
	return c
}

// eval returns the value of a condition, and whether it is known.
func (w *walk) eval(e ast.Expr, known known) (value, ok bool) {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		v := w.variable(e)
		value, ok = known[v]
		return value, ok && types.Identical(v.Type().Underlying(), types.Typ[types.Bool])
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			value, ok = w.eval(e.X, known)
			return !value, ok
		}
	case *ast.BinaryExpr:
		if v, equal := w.comparesNil(e); v != nil {
			notNil, ok := known[v]
			return notNil != equal, ok
		}
		if e.Op == token.LAND || e.Op == token.LOR {
			decides := e.Op == token.LOR // the value of one side that decides
			x, okX := w.eval(e.X, known)
			y, okY := w.eval(e.Y, known)
			if okX && x == decides || okY && y == decides {
				return decides, true
			}
			return !decides, okX && okY
		}
	}
	return false, false
}

// comparesNil returns the variable that e compares with nil, or nil, and whether the operator
// is ==.
func (p *pass) comparesNil(e *ast.BinaryExpr) (v *types.Var, equal bool) {
	if e.Op != token.EQL && e.Op != token.NEQ {
		return nil, false
	}
	x, y := e.X, e.Y
	if p.TypesInfo.Types[x].IsNil() {
		x, y = y, x
	}
	if !p.TypesInfo.Types[y].IsNil() {
		return nil, false
	}
	return p.variable(x), e.Op == token.EQL
}

// conditions returns what the if and switch statements around a node say about variables.
func (p *pass) conditions(body *ast.BlockStmt, target ast.Node) known {
	result := make(known)
	ast.PreorderStack(body, nil, func(n ast.Node, stack []ast.Node) bool {
		if n != target {
			return n.Pos() <= target.Pos() && target.End() <= n.End()
		}
		for i, parent := range stack {
			if i+1 == len(stack) {
				break
			}
			switch parent := parent.(type) {
			case *ast.IfStmt:
				if child := stack[i+1]; child == parent.Body || child == parent.Else {
					p.learn(parent.Cond, child == parent.Body, result)
				}
			case *ast.SwitchStmt:
				if clause, ok := caseOf(stack[i+1:]); ok && parent.Tag == nil && len(clause.List) == 1 {
					p.learn(clause.List[0], true, result)
				}
			}
		}
		return false
	})
	return result
}

// caseOf returns the clause that a path from the body of a switch statement leads through.
func caseOf(path []ast.Node) (*ast.CaseClause, bool) {
	if len(path) < 2 {
		return nil, false
	}
	clause, ok := path[1].(*ast.CaseClause)
	return clause, ok
}

// learn adds what a condition with a value says about variables.
func (p *pass) learn(e ast.Expr, value bool, result known) {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		if v := p.variable(e); v != nil {
			result[v] = value
		}
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			p.learn(e.X, !value, result)
		}
	case *ast.BinaryExpr:
		if v, equal := p.comparesNil(e); v != nil {
			result[v] = value != equal
		} else if e.Op == token.LAND && value || e.Op == token.LOR && !value {
			p.learn(e.X, value, result)
			p.learn(e.Y, value, result)
		}
	}
}

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
			} else if sig, ok := fun.Type.(*types.Signature); ok {
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
