package reference

import (
	"cmp"
	"go/token"
	"strings"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
)

// Options holds what may be chosen about a reference. The zero value and nil have the defaults.
type Options struct {
	// Title is the title of the page and of the documents. The default is "API errors".
	Title string

	// GoPackage is the package name of the Go file. The default is "apierrors".
	GoPackage string
}

// Reference is the reference of a catalog. It does not change, and it may be used by several
// goroutines at the same time. As an [http.Handler], it serves the page.
type Reference struct {
	title     string
	goPackage string
	defs      []apierror.Definition // in the catalog's order, with texts that line has cleaned
	files     []file                // a file of each format
}

// New returns the reference of a catalog. If c is nil, apierror.DefaultCatalog() is used. For a
// service with [apierror.Renderer.Strict], use apierror.CoreCatalog(). New panics if GoPackage
// is not a Go identifier.
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
	r := &Reference{
		title:     cmp.Or(line(o.Title), "API errors"),
		goPackage: cmp.Or(o.GoPackage, "apierrors"),
		defs:      defs,
	}
	if !token.IsIdentifier(r.goPackage) {
		panic("reference: Options.GoPackage is not a Go identifier: " + r.goPackage)
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

// DocURL returns a function for [apierror.Renderer.DocURL]. It links each code of the catalog to
// its entry on the page, which is served at the URL page.
func (r *Reference) DocURL(page string) func(apierror.Code) string {
	codes := r.byCode()
	return func(code apierror.Code) string {
		if _, ok := codes[code]; !ok {
			return ""
		}
		return page + "#" + string(code)
	}
}

// line returns s as one line, without characters that change how the text around it reads.
func line(s string) string { return strings.TrimSpace(plain.Text(s, maxText)) }

// maxText is the largest length of a description, in bytes.
const maxText = 16 << 10
