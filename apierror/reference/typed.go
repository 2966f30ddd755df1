package reference

import (
	"bytes"
	"embed"
	"go/format"
	"strings"
	"text/template"

	"github.com/seawall-go/seawall/apierror"
)

// The templates hold the fixed part of the typed errors. Each reads as a file of its language.
// Apart from the title in a line comment and the texts in doc comments, they are given only codes,
// which match ^[a-z][a-z0-9_]{0,62}$, and names that are chosen here.
//
//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/errors.*.tmpl"))

func (r *Reference) typeScript() []byte {
	return r.typed("errors.ts.tmpl", strings.NewReplacer(
		"*/", `*\/`, // the end of the comment
		"@", `\@`, // a tag, such as @deprecated
	))
}

func (r *Reference) python() []byte {
	return r.typed("errors.py.tmpl", strings.NewReplacer(`\`, `\\`, `"`, `\"`))
}

func (r *Reference) golang() []byte {
	source := r.typed("errors.go.tmpl", strings.NewReplacer()) // a line comment holds anything
	formatted, err := format.Source(source)
	if err != nil {
		panic("reference: " + err.Error()) // a mistake in the template
	}
	return formatted
}

// typedErrors is what the templates show.
type typedErrors struct {
	Title   string
	Package string
	Known   bool // there is a code
	Types   []typedClass
}

type typedClass struct {
	errorType
	Codes []typedCode
}

type typedCode struct {
	Code  apierror.Code
	Const string // its name in Go
	Text  string // the description and the resolution
}

// typed executes a template. The replacer escapes a text for a doc comment.
func (r *Reference) typed(name string, escape *strings.Replacer) []byte {
	data := typedErrors{Title: r.title, Package: r.goPackage, Known: len(r.defs) > 0}
	constants := goConstants(r.defs)
	for _, t := range errorTypes {
		class := typedClass{errorType: t}
		for _, d := range r.definitionsOf(t.Type) {
			class.Codes = append(class.Codes, typedCode{d.Code, constants[d.Code], escape.Replace(explanation(d))})
		}
		data.Types = append(data.Types, class)
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic("reference: " + err.Error()) // a mistake in the template
	}
	return b.Bytes()
}

// goConstants returns the name of each code's constant, such as CodeAPIError for api_error. If
// codes such as a1 and a_1 would share a name, all but the first one are named as they are
// spelled: Code_a_1. A code that is added to the catalog does not change the others' names.
func goConstants(defs []apierror.Definition) map[apierror.Code]string {
	constants := make(map[apierror.Code]string, len(defs))
	taken := make(map[string]bool, len(defs))
	for _, d := range defs {
		name := "Code"
		for word := range strings.SplitSeq(string(d.Code), "_") {
			name += goWord(word)
		}
		if taken[name] {
			name = "Code_" + string(d.Code)
		}
		taken[name] = true
		constants[d.Code] = name
	}
	return constants
}

// goWord returns a word of a name as Go spells it: initialisms are in upper case.
func goWord(word string) string {
	switch word {
	case "":
		return ""
	case "acl", "api", "ascii", "cpu", "css", "dns", "eof", "guid", "html", "http", "https", "id", "ip", "json", "lhs", "qps", "ram", "rhs", "rpc", "sla",
		"smtp", "sql", "ssh", "tcp", "tls", "ttl", "udp", "ui", "uid", "uri", "url", "utf8", "uuid", "vm", "xml", "xmpp", "xsrf", "xss":
		return strings.ToUpper(word)
	default:
		return strings.ToUpper(word[:1]) + word[1:]
	}
}
