package lint

import (
	"go/ast"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/ctrlflow"
	"golang.org/x/tools/go/cfg"
)

// function is a declared function or a function literal. A literal inside another function is a
// function too.
type function struct {
	node ast.Node // *ast.FuncDecl or *ast.FuncLit
	body *ast.BlockStmt
	sig  *types.Signature
	cfg  *cfg.CFG
}

// functions returns the functions with a body and a graph in the files that are checked.
func (p *pass) functions() []*function {
	graphs := p.ResultOf[ctrlflow.Analyzer].(*ctrlflow.CFGs)
	var list []*function
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				f, ok := p.TypesInfo.Defs[n.Name].(*types.Func)
				if !ok {
					return true
				}
				if graph := graphs.FuncDecl(n); graph != nil { // some functions that end the program have none
					list = append(list, &function{n, n.Body, f.Signature(), graph})
				}
			case *ast.FuncLit:
				if sig, ok := p.TypesInfo.TypeOf(n).(*types.Signature); ok {
					list = append(list, &function{n, n.Body, sig, graphs.FuncLit(n)})
				}
			}
			return true
		})
	}
	return list
}

// param returns the index of the function's parameter v, or -1.
func (f *function) param(v *types.Var) int {
	for i := range f.sig.Params().Len() {
		if f.sig.Params().At(i) == v {
			return i
		}
	}
	return -1
}

// place is a node's place in the control flow graph.
type place struct {
	block *cfg.Block
	index int // in block.Nodes
}

// node returns the node at the place.
func (at place) node() ast.Node { return at.block.Nodes[at.index] }

// places calls visit for each node that control can reach.
func (f *function) places(visit func(place)) {
	for _, b := range f.cfg.Blocks {
		if b.Live {
			for i := range b.Nodes {
				visit(place{b, i})
			}
		}
	}
}

// reachableWithout returns the blocks that control can enter without passing at, or a node for
// which ends returns true.
func (f *function) reachableWithout(at place, ends func(ast.Node) bool) map[*cfg.Block]bool {
	reached := make(map[*cfg.Block]bool)
	var enter func(*cfg.Block)
	enter = func(b *cfg.Block) {
		if reached[b] {
			return
		}
		reached[b] = true
		if b != at.block && !slices.ContainsFunc(b.Nodes, ends) {
			for _, next := range b.Succs {
				enter(next)
			}
		}
	}
	enter(f.cfg.Blocks[0])
	return reached
}

// calls calls visit for each call in a node. It skips defer and go statements and function
// literals, because their calls are not made when control reaches the node.
func calls(n ast.Node, visit func(*ast.CallExpr)) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.DeferStmt, *ast.GoStmt, *ast.FuncLit:
			return false
		case *ast.CallExpr:
			visit(n)
		}
		return true
	})
}

// exportFacts exports the fact that find returns about a declared function, if it is not nil. What
// it returns may depend on the facts about other functions, which may call each other.
func exportFacts[T any, F interface {
	*T
	analysis.Fact
}](p *pass, functions []*function, find func(*function, *ast.FuncDecl) F) {
	for again := true; again; {
		again = false
		for _, f := range functions {
			decl, ok := f.node.(*ast.FuncDecl)
			if !ok {
				continue
			}
			obj := p.TypesInfo.Defs[decl.Name]
			if p.ImportObjectFact(obj, F(new(T))) {
				continue
			}
			if fact := find(f, decl); fact != nil {
				p.ExportObjectFact(obj, fact)
				again = true
			}
		}
	}
}
