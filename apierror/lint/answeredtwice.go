package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"slices"
	"strings"

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

// answer is a call that answers a request with an error.
type answer struct {
	call   *ast.CallExpr
	name   string // of the function
	writer *types.Var
	err    *types.Var // the error, or nil if it is in no variable
}

func answeredTwice(p *pass) {
	if !p.usesCatalog() {
		return
	}
	functions, returning := p.functions(), p.handlerFuncs()
	p.exportWrappers(functions)
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

// answersFact is about a function that always answers with an error. It has the indices of
// parameters: of the ResponseWriter, and of the error, or -1 if it makes the error itself.
type answersFact struct{ Writer, Err int }

func (*answersFact) AFact() {}

// exportWrappers exports which functions answer for their caller. They may call each other.
func (p *pass) exportWrappers(functions []*function) {
	for again := true; again; {
		again = false
		for _, f := range functions {
			decl, ok := f.node.(*ast.FuncDecl)
			if !ok {
				continue
			}
			obj := p.TypesInfo.Defs[decl.Name]
			if fact := p.wrapper(f); fact != nil && !p.ImportObjectFact(obj, new(answersFact)) {
				p.ExportObjectFact(obj, fact)
				again = true
			}
		}
	}
}

// wrapper returns what a function answers, or nil if it may not answer.
func (p *pass) wrapper(f *function) *answersFact {
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

// known holds what conditions say: whether a boolean variable is true, whether any other variable
// is not nil, and whether the condition with a text is true.
type known map[any]bool

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

// works reports whether a call is work that can fail, which should not follow an answer.
func (w *walk) works(call *ast.CallExpr) bool {
	sig := w.signature(call)
	if sig == nil || sig.Results().Len() == 0 {
		return false
	}
	last := sig.Results().At(sig.Results().Len() - 1).Type()
	if !isErrorInterface(last) {
		return false
	}
	f := typeutil.Callee(w.TypesInfo, call)
	if f == nil {
		return true // a function in a variable
	}
	if f.Pkg() != nil && noWorkIn[path.Base(f.Pkg().Path())] || isNoWork(f) {
		return false
	}
	drains := isFunc(f, "io", "Copy", "CopyN") && isDiscard(w.object(call.Args[0]))
	removes := f.Name() == "Remove" || f.Name() == "RemoveAll" // temporary files
	return !drains && !removes
}

// isNoWork reports whether the name of a function says that it is not work.
func isNoWork(f types.Object) bool {
	return f != nil && noWork[strings.ToLower(firstWord.FindString(f.Name()))]
}

func isDiscard(obj types.Object) bool {
	return obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == "io" && obj.Name() == "Discard"
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

// assign returns what is known after a node.
func (w *walk) assign(n ast.Node, before known) known {
	after := before
	set := func(e, value ast.Expr) {
		v := w.variable(e)
		if v == nil {
			if owner := w.root(e); owner != w.writer {
				w.changed[owner] = true // s.failed = true
			}
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
		case tv.Value != nil && isBool(v.Type()):
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
		if other != any(v) {
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
		return value, ok && isBool(v.Type())
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
	if mentions(w.pass, e, w.changed) {
		return false, false
	}
	text, not := conditionText(e)
	value, ok = known[text]
	return value != not, ok
}

// opposites maps comparison operators to their negations, so that conditionText uses only one of
// each pair.
var opposites = map[token.Token]token.Token{token.NEQ: token.EQL, token.GEQ: token.LSS, token.GTR: token.LEQ}

// conditionText returns a text that identifies a condition. It reports whether the text is that of
// the negated condition.
func conditionText(e ast.Expr) (text string, not bool) {
	e = ast.Unparen(e)
	b, ok := e.(*ast.BinaryExpr)
	if !ok {
		return types.ExprString(e), false
	}
	x, y := types.ExprString(b.X), types.ExprString(b.Y)
	if b.Op == token.GTR && strings.HasPrefix(x, "len(") && y == "0" {
		return x + " == 0", true
	}
	if opposite, ok := opposites[b.Op]; ok {
		return x + " " + opposite.String() + " " + y, true
	}
	return x + " " + b.Op.String() + " " + y, false
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
		} else if e.Op != token.LAND && e.Op != token.LOR {
			text, not := conditionText(e)
			result[text] = value != not
		}
	case *ast.CallExpr:
		text, not := conditionText(e)
		result[text] = value != not
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
