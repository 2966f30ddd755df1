package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// known holds what conditions say: whether a boolean variable is true, whether any other variable
// is not nil, and whether the condition with a text is true.
type known map[any]bool

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
