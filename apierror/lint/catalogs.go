package lint

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/types/typeutil"
)

// declarations collects the variables and functions of the package.
func (c *codes) declarations() {
	for _, file := range c.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if f, ok := c.TypesInfo.Defs[n.Name].(*types.Func); ok {
					c.functions[f] = n
				}
			case *ast.ValueSpec:
				for i, name := range n.Names {
					c.define(name, valueAt(n.Values, len(n.Names), i))
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					name, ok := left.(*ast.Ident)
					if ok && c.TypesInfo.Defs[name] != nil {
						c.define(name, valueAt(n.Rhs, len(n.Lhs), i))
						continue
					}
					v := c.root(left)
					c.reassigned[v] = true
					// The fact about a variable of another package is wrong then.
					c.fact.Unknown = c.fact.Unknown || v != nil && v.Pkg() != c.Pkg && isDefining(v.Type())
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND && !isType(c.TypesInfo.TypeOf(n.X), apierrorPath, "Definition") {
					c.reassigned[c.root(n.X)] = true
				}
			}
			return true
		})
	}
}

func (c *codes) define(name *ast.Ident, value ast.Expr) {
	if v, ok := c.TypesInfo.Defs[name].(*types.Var); ok && value != nil {
		c.values[v] = value
	}
}

// export exports what the package's variables and functions define.
func (c *codes) export() {
	scope := c.Pkg.Scope()
	for _, name := range scope.Names() {
		obj := scope.Lookup(name)
		t := obj.Type()
		if f, ok := obj.(*types.Func); ok {
			if f.Signature().Results().Len() == 0 {
				continue
			}
			t = f.Signature().Results().At(0).Type()
		}
		if !obj.Exported() || !isDefining(t) {
			continue
		}
		if list, ok := c.codesOfObject(obj); ok {
			c.ExportObjectFact(obj, &definesFact{sorted(list)})
		}
	}
}

// isDefining reports whether values of type t define codes.
func isDefining(t types.Type) bool {
	if slice, ok := t.Underlying().(*types.Slice); ok {
		t = slice.Elem()
	}
	return isType(t, apierrorPath, "Definition") || isType(t, apierrorPath, "Catalog")
}

// codesOf returns the codes of an expression of type Code, Definition, []Definition or *Catalog,
// besides the built-in codes. It reports whether it knows them.
func (c *codes) codesOf(e ast.Expr) (list []string, ok bool) {
	e = ast.Unparen(e)
	if tv := c.TypesInfo.Types[e]; tv.IsNil() {
		return nil, true
	} else if tv.Value != nil && tv.Value.Kind() == constant.String {
		return []string{constant.StringVal(tv.Value)}, true
	}
	switch e := e.(type) {
	case *ast.Ident:
		return c.codesOfObject(c.object(e))
	case *ast.SelectorExpr:
		if isType(c.TypesInfo.TypeOf(e.X), apierrorPath, "Definition") && e.Sel.Name == "Code" {
			return c.codesOf(e.X)
		}
		return c.codesOfObject(c.object(e))
	case *ast.UnaryExpr:
		return c.codesOf(e.X)
	case *ast.StarExpr:
		return c.codesOf(e.X)
	case *ast.CompositeLit:
		if isType(c.TypesInfo.TypeOf(e), apierrorPath, "Definition") {
			if code := field(e, "Code"); code != nil {
				return c.codesOf(code)
			}
			return nil, false
		}
		return c.union(e.Elts)
	case *ast.KeyValueExpr: // of an array or slice with indices
		return c.codesOf(e.Value)
	case *ast.CallExpr:
		f := typeutil.Callee(c.TypesInfo, e)
		switch {
		case isFunc(f, apierrorPath, "DefaultCatalog", "CoreCatalog"):
			return nil, true
		case isFunc(f, apierrorPath, "NewCatalog", "MustCatalog"), isFunc(f, "slices", "Concat", "Clone"), isAppend(f):
			return c.union(e.Args)
		case f != nil:
			return c.codesOfObject(f)
		}
	}
	return nil, false
}

func isAppend(f types.Object) bool {
	b, ok := f.(*types.Builtin)
	return ok && b.Name() == "append"
}

func (c *codes) union(list []ast.Expr) (all []string, ok bool) {
	for _, e := range list {
		one, ok := c.codesOf(e)
		if !ok {
			return nil, false
		}
		all = append(all, one...)
	}
	return all, true
}

// codesOfObject returns the codes of a variable that has one value, or of a function that has
// one return statement.
func (c *codes) codesOfObject(obj types.Object) (list []string, ok bool) {
	if obj == nil || obj.Pkg() == nil || c.active[obj] {
		return nil, false
	}
	if obj.Pkg() != c.Pkg {
		var fact definesFact
		ok = c.ImportObjectFact(obj, &fact)
		return fact.Codes, ok
	}
	c.active[obj] = true
	defer delete(c.active, obj)
	switch obj := obj.(type) {
	case *types.Var:
		if value := c.values[obj]; value != nil && !c.reassigned[obj] {
			return c.codesOf(value)
		}
	case *types.Func:
		if result := onlyResult(c.functions[obj]); result != nil {
			return c.codesOf(result)
		}
	}
	return nil, false
}

// onlyResult returns the first result of the only return statement of a function, or nil.
func onlyResult(f *ast.FuncDecl) (result ast.Expr) {
	if f == nil || f.Body == nil {
		return nil
	}
	n := 0
	ast.Inspect(f.Body, func(node ast.Node) bool {
		if ret, ok := node.(*ast.ReturnStmt); ok {
			n++
			if len(ret.Results) > 0 {
				result = ret.Results[0]
			}
		}
		_, nested := node.(*ast.FuncLit)
		return !nested
	})
	if n != 1 {
		return nil
	}
	return result
}
