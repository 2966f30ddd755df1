package apierror

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Definition is one entry of a catalog: a code and all that follows from it. A service defines
// its own codes as package variables, returns them or makes errors from them, and gives them to
// [NewCatalog]:
//
//	var CardDeclined = apierror.Definition{
//		Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined.",
//	}
//
//	return CardDeclined // it is an error itself, with the default message
//	return CardDeclined.Messagef("The card was declined: %s.", reason)
//
// errors.Is(err, CardDeclined) finds either, and the error that a client parsed.
type Definition struct {
	Code        Code   // ^[a-z][a-z0-9_]{0,62}$
	Type        Type   // one of the six
	Status      int    // 400 to 599
	Message     string // what the client reads when the error says nothing else
	Description string // when it occurs; for the reference page

	// NotRetryable says that a repetition has the same result although the status is one that
	// clients repeat: 429, or a 5xx but 501. X-Should-Retry: false is sent then, as it is for
	// every other status.
	NotRetryable bool
}

// Error returns the code as it goes over the wire.
func (d Definition) Error() string { return string(d.Code) }

// Is reports whether errors.Is finds in d what it finds in the error that d stands for: its
// [Type] and its [Code].
func (d Definition) Is(target error) bool { return d.New().Is(target) }

// New returns an error of this definition with its default message.
func (d Definition) New() *Error {
	return &Error{code: d.Code, typ: d.Type, status: d.Status, message: d.Message, notRetryable: d.NotRetryable}
}

// Messagef returns an error of this definition whose public message is the formatted text.
func (d Definition) Messagef(format string, args ...any) *Error {
	e := d.New()
	e.message = publicText(format, args)
	return e
}

// Catalog is a set of definitions: the built-in ones and a service's own. It does not change
// after it was made.
type Catalog struct {
	defs   []Definition
	byCode map[Code]int
}

// DefaultCatalog returns the built-in catalog: the codes of the specification and Seawall's extensions
// of it.
func DefaultCatalog() *Catalog { return builtin }

// NewCatalog returns the built-in definitions and defs. The error tells everything that is wrong
// with them: a code that is defined twice (naming both places), a bad spelling, an unknown type,
// a status that is no 4xx or 5xx, a missing message.
func NewCatalog(defs ...Definition) (*Catalog, error) {
	c := &Catalog{defs: slices.Concat(builtin.defs, defs), byCode: make(map[Code]int, len(builtin.defs)+len(defs))}
	var faults []error
	for i, d := range c.defs {
		if first, ok := c.byCode[d.Code]; ok {
			faults = append(faults, fmt.Errorf("apierror: %s is defined twice: by %s and by %s", quote(d.Code), place(first), place(i)))
		} else {
			c.byCode[d.Code] = i
		}
		for _, fault := range d.faults() {
			faults = append(faults, fmt.Errorf("apierror: the code %s (%s) %s", quote(d.Code), place(i), fault))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return c, nil
}

// MustCatalog is NewCatalog for a package variable: it panics where NewCatalog returns an error.
func MustCatalog(defs ...Definition) *Catalog {
	c, err := NewCatalog(defs...)
	if err != nil {
		panic(err)
	}
	return c
}

// Lookup returns the definition of a code, and whether there is one.
func (c *Catalog) Lookup(code Code) (Definition, bool) {
	if d := c.find(code); d != nil {
		return *d, true
	}
	return Definition{}, false
}

// find is Lookup without a copy: nil for none, and not to be written to.
func (c *Catalog) find(code Code) *Definition {
	i, ok := c.byCode[code]
	if !ok {
		return nil
	}
	return &c.defs[i]
}

// Definitions returns all definitions, the built-in ones first, each in the order in which it
// was given.
func (c *Catalog) Definitions() []Definition { return slices.Clone(c.defs) }

// faults completes "the code …" with all that is wrong with a definition.
func (d Definition) faults() (faults []string) {
	if !d.Code.wellFormed() {
		faults = append(faults, "is not 1 to 63 of a-z, 0-9 and _ that begin with a letter")
	}
	if !d.Type.known() {
		faults = append(faults, "has the unknown type "+quote(d.Type))
	}
	if d.Status < 400 || d.Status > 599 {
		faults = append(faults, fmt.Sprintf("has the status %d, which is no 4xx or 5xx", d.Status))
	}
	if d.Message == "" {
		faults = append(faults, "has no default message")
	}
	return faults
}

func (c Code) wellFormed() bool {
	if c == "" || len(c) > 63 || c[0] < 'a' || c[0] > 'z' {
		return false
	}
	for i := range len(c) {
		if b := c[i]; (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '_' {
			return false
		}
	}
	return true
}

// place names a definition as the caller of NewCatalog knows it.
func place(i int) string {
	if n := len(builtin.defs); i >= n {
		return fmt.Sprintf("argument %d of NewCatalog", i-n+1)
	}
	return "the built-in catalog"
}

func quote[S ~string](s S) string { return strconv.Quote(string(s)) }
