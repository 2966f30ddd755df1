package lint

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis/passes/ctrlflow"
	"golang.org/x/tools/go/cfg"
)

// function is a declared function, or a literal. A literal inside it is a function itself.
type function struct {
	node ast.Node // *ast.FuncDecl or *ast.FuncLit
	body *ast.BlockStmt
	sig  *types.Signature
	cfg  *cfg.CFG
}

// functions returns the functions with a body in the files that are checked.
func (p *pass) functions() []*function {
	graphs := p.ResultOf[ctrlflow.Analyzer].(*ctrlflow.CFGs)
	var list []*function
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if f, ok := p.TypesInfo.Defs[n.Name].(*types.Func); ok && n.Body != nil {
					list = append(list, &function{n, n.Body, f.Signature(), graphs.FuncDecl(n)})
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

// hasParam reports whether v is a parameter of the function.
func (f *function) hasParam(v *types.Var) bool {
	for param := range f.sig.Params().Variables() {
		if param == v {
			return true
		}
	}
	return false
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

// reachableWithout returns the blocks that control can enter without passing at.
func (f *function) reachableWithout(at place) map[*cfg.Block]bool {
	reached := make(map[*cfg.Block]bool)
	var enter func(*cfg.Block)
	enter = func(b *cfg.Block) {
		if reached[b] {
			return
		}
		reached[b] = true
		if b != at.block {
			for _, next := range b.Succs {
				enter(next)
			}
		}
	}
	enter(f.cfg.Blocks[0])
	return reached
}

// calls calls visit for each call in a node that is made there and then: not those that a defer
// or go statement makes, nor those in a function literal.
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
