package lint

import (
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/cfg"
)

// flow follows the variables of one function back to their values.
type flow struct {
	*pass
	into   map[*cfg.Block][]*cfg.Block // the predecessors
	shared map[*types.Var]bool         // variables whose values other functions may set
	active map[ast.Expr]bool           // the values that is examines now, to end in loops
}

func newFlow(p *pass, f *function) *flow {
	d := &flow{p, make(map[*cfg.Block][]*cfg.Block), make(map[*types.Var]bool), make(map[ast.Expr]bool)}
	for _, b := range f.cfg.Blocks {
		if b.Live {
			for _, next := range b.Succs {
				d.into[next] = append(d.into[next], b)
			}
		}
	}
	ast.Inspect(f.body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				d.shared[d.variable(n.X)] = true
			}
		case *ast.FuncLit:
			for v := range d.assigned(n) {
				d.shared[v] = true
			}
		}
		return true
	})
	return d
}

// assigned returns the variables that a function literal assigns to.
func (p *pass) assigned(lit *ast.FuncLit) map[*types.Var]bool {
	found := make(map[*types.Var]bool)
	ast.Inspect(lit.Body, func(n ast.Node) bool {
		if assign, ok := n.(*ast.AssignStmt); ok {
			for _, left := range assign.Lhs {
				if star, ok := ast.Unparen(left).(*ast.StarExpr); ok {
					left = star.X
				}
				found[p.variable(left)] = true
			}
		}
		return true
	})
	return found
}

// is reports whether an expression is of a kind on every path to it. It follows variables to their
// values, and calls kind with expressions that are not variables.
func (d *flow) is(kind func(d *flow, e ast.Expr, at place) bool, e ast.Expr, at place) bool {
	e = ast.Unparen(e)
	v := d.variable(e)
	if v == nil {
		return kind(d, e, at)
	}
	if d.shared[v] {
		return false
	}
	values, ok := d.values(v, at)
	if !ok {
		return false
	}
	for _, value := range values {
		if d.active[value.expr] {
			continue // a loop: the other values decide
		}
		d.active[value.expr] = true
		ok = d.is(kind, value.expr, value.place)
		delete(d.active, value.expr)
		if !ok {
			return false
		}
	}
	return len(values) > 0
}

// value is an expression that a variable may have the value of.
type value struct {
	expr  ast.Expr
	place place
}

// values returns the values that a local variable may have at a place. It reports whether it
// knows all of them.
func (d *flow) values(v *types.Var, at place) (values []value, ok bool) {
	seen := make(map[*cfg.Block]bool)
	var before func(b *cfg.Block, index int) bool
	before = func(b *cfg.Block, index int) bool {
		for i := index - 1; i >= 0; i-- {
			e, assigned := d.assigns(b.Nodes[i], v)
			if assigned {
				values = append(values, value{e, place{b, i}})
				return e != nil
			}
		}
		if len(d.into[b]) == 0 {
			return false // a parameter, or a variable from outside of the function
		}
		for _, previous := range d.into[b] {
			if !seen[previous] {
				seen[previous] = true
				if !before(previous, len(previous.Nodes)) {
					return false
				}
			}
		}
		return true
	}
	ok = before(at.block, at.index)
	return values, ok
}

// assigns reports whether a node assigns to v or to what it points to, and returns the value. It
// is nil if it is not one expression.
func (d *flow) assigns(n ast.Node, v *types.Var) (e ast.Expr, ok bool) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if star, ok := ast.Unparen(left).(*ast.StarExpr); ok && d.variable(star.X) == v {
				return nil, true
			}
			if d.variable(left) == v {
				return valueAt(n.Rhs, len(n.Lhs), i), true
			}
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if d.variable(name) == v {
				return valueAt(n.Values, len(n.Names), i), true
			}
		}
	}
	return nil, false
}

// valueAt returns the expression for the i-th of n variables. The first of several may be the
// first result of a call. It is nil if there is no such expression.
func valueAt(values []ast.Expr, n, i int) ast.Expr {
	switch {
	case len(values) == n:
		return values[i]
	case len(values) == 1 && i == 0:
		return values[0]
	default:
		return nil
	}
}
