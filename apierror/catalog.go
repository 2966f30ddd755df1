package apierror

import (
	"errors"
	"fmt"
	"slices"
)

// Catalog is a set of definitions: the built-in ones and a service's own. It does not change.
type Catalog struct {
	defs   []Definition
	byCode map[Code]int // index in defs
}

// DefaultCatalog returns the built-in catalog: the core codes and those that Seawall adds.
func DefaultCatalog() *Catalog { return builtin }

// CoreCatalog returns the catalog of the eight core codes. A service with [Renderer.Strict] sends
// no others, so its reference page uses this catalog.
func CoreCatalog() *Catalog { return core }

// NewCatalog returns a catalog of the built-in definitions and defs. Its error names
// everything that is wrong with defs: a code that is defined twice (and where), a malformed
// code, an unknown type, a status that is not 4xx or 5xx, or a missing message.
func NewCatalog(defs ...Definition) (*Catalog, error) {
	c := &Catalog{
		defs:   slices.Concat(builtin.defs, defs),
		byCode: make(map[Code]int, len(builtin.defs)+len(defs)),
	}
	var faults []error
	for i, d := range c.defs {
		if first, ok := c.byCode[d.Code]; ok {
			faults = append(faults, fmt.Errorf("apierror: the code %q is defined twice: by %s and by %s", string(d.Code), place(first), place(i)))
		} else {
			c.byCode[d.Code] = i
		}
		for _, fault := range d.faults() {
			faults = append(faults, fmt.Errorf("apierror: the code %q (%s) %s", truncate(string(d.Code), maxCode), place(i), fault))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return c, nil
}

// MustCatalog is like [NewCatalog] but panics instead of returning an error. It is for package
// variables.
func MustCatalog(defs ...Definition) *Catalog {
	c, err := NewCatalog(defs...)
	if err != nil {
		panic(err)
	}
	return c
}

// Lookup returns the definition of a code, and reports whether there is one.
func (c *Catalog) Lookup(code Code) (Definition, bool) {
	if d := c.find(code); d != nil {
		return *d, true
	}
	return Definition{}, false
}

// Definitions returns all definitions: the built-in ones, then the service's own in the order in
// which NewCatalog got them.
func (c *Catalog) Definitions() []Definition { return slices.Clone(c.defs) }

// find returns the definition of a code, which must not be written to. It is nil if there is
// none.
func (c *Catalog) find(code Code) *Definition {
	i, ok := c.byCode[code]
	if !ok {
		return nil
	}
	return &c.defs[i]
}

// place names the place of a definition as the caller of NewCatalog knows it.
func place(i int) string {
	if n := len(builtin.defs); i >= n {
		return fmt.Sprintf("argument %d of NewCatalog", i-n+1)
	}
	return "the built-in catalog"
}
