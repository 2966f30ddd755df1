package reference

import (
	"cmp"
	"fmt"
	"go/token"
	"strings"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
)

// Options are the options of [New] and [Parse]. The zero value is the default.
type Options struct {
	// Title is the title of the page and of the other formats. The default of New is "API errors",
	// and that of Parse is the title of the export.
	Title string

	// GoPackage is the name of the package in FormatGo. The default is "apierrors".
	GoPackage string
}

// Validate returns an error if GoPackage cannot be the name of a Go package.
func (o *Options) Validate() error {
	if name := o.GoPackage; name != "" && (!token.IsIdentifier(name) || name == "_") {
		return fmt.Errorf("reference: Options.GoPackage: %q is not the name of a Go package", name)
	}
	return nil
}

// Reference describes the errors of a catalog, in every [Format]. As an [http.Handler], it serves
// the page. It does not change, so several goroutines may use it at the same time. Use New or
// Parse to make one.
type Reference struct {
	title     string
	goPackage string
	defs      []apierror.Definition // in the catalog's order, with texts that line has cleaned
	files     []file                // a file of each format
}

// New returns the reference of a catalog. If c is nil, apierror.DefaultCatalog() is used. For a
// service with [apierror.Renderer.Strict], use apierror.CoreCatalog(). If o is nil, the defaults
// apply. New panics if o is invalid: see [Options.Validate].
func New(c *apierror.Catalog, o *Options) *Reference {
	if c == nil {
		c = apierror.DefaultCatalog()
	}
	return newReference(c.Definitions(), o)
}

func newReference(defs []apierror.Definition, o *Options) *Reference {
	if o == nil {
		o = &Options{}
	}
	if err := o.Validate(); err != nil {
		panic(err.Error())
	}
	r := &Reference{
		title:     cmp.Or(line(o.Title), "API errors"),
		goPackage: cmp.Or(o.GoPackage, "apierrors"),
		defs:      defs,
	}
	for i := range r.defs {
		d := &r.defs[i]
		d.Message = string([]rune(d.Message)) // each invalid byte becomes U+FFFD, as in what the renderer sends
		d.Description = line(d.Description)
		d.Resolution = line(d.Resolution)
	}
	for _, o := range outputs {
		r.files = append(r.files, newFile(r, o))
	}
	return r
}

// DocURL returns a function for [apierror.Renderer.DocURL]. The page is the URL at which clients
// find the reference page. It may be relative and may have a query, and its fragment is replaced.
// The function returns the URL of a code's entry on that page. It returns the empty string for a
// code that is not in the catalog.
func (r *Reference) DocURL(page string) func(apierror.Code) string {
	page, _, _ = strings.Cut(page, "#")
	codes := r.byCode()
	return func(code apierror.Code) string {
		if _, ok := codes[code]; !ok {
			return ""
		}
		return page + "#" + string(code)
	}
}

// line returns s as one line, without characters that change how the text around it is shown.
func line(s string) string { return strings.TrimSpace(plain.Text(s, maxText)) }

// maxText is the largest length of a description, in bytes.
const maxText = 16 << 10
