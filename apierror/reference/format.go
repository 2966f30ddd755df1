package reference

import (
	"fmt"
	"slices"
)

// Format is what a reference is rendered as: a page, a schema, or code for clients.
type Format string

// The formats. The same catalog and options always give the same bytes.
const (
	FormatHTML       Format = "html"       // the page
	FormatMarkdown   Format = "markdown"   // the page, for a repository or another site
	FormatJSON       Format = "json"       // the export of the catalog, which Parse reads and Diff compares
	FormatJSONSchema Format = "jsonschema" // a JSON Schema (2020-12) of the service's errors
	FormatOpenAPI    Format = "openapi"    // components for the service's OpenAPI document (3.1)
	FormatTypeScript Format = "typescript" // typed errors in TypeScript, for ES2022 or later
	FormatPython     Format = "python"     // typed errors in Python, for 3.9 or later
	FormatGo         Format = "go"         // typed errors in Go, for 1.24 or later
)

// output says how a format is made and served.
type output struct {
	format      Format
	file        string // its usual file name
	contentType string
	render      func(*Reference) []byte
}

// outputs has all formats, in the order in which the page links to them.
var outputs = []output{
	{FormatHTML, "errors.html", "text/html; charset=utf-8", (*Reference).html},
	{FormatMarkdown, "errors.md", "text/markdown; charset=utf-8", (*Reference).markdown},
	{FormatJSON, "errors.json", "application/json", (*Reference).exportJSON},
	{FormatJSONSchema, "errors.schema.json", "application/schema+json", (*Reference).jsonSchema},
	{FormatOpenAPI, "errors.openapi.json", "application/json", (*Reference).openAPI},
	{FormatTypeScript, "errors.ts", "text/plain; charset=utf-8", (*Reference).typeScript},
	{FormatPython, "errors.py", "text/plain; charset=utf-8", (*Reference).python},
	{FormatGo, "errors.go", "text/plain; charset=utf-8", (*Reference).golang},
}

// Formats returns all formats.
func Formats() []Format {
	formats := make([]Format, len(outputs))
	for i, o := range outputs {
		formats[i] = o.format
	}
	return formats
}

// Render returns the reference in a format. It returns an error only if there is no such format.
func (r *Reference) Render(f Format) ([]byte, error) {
	o, err := find(f)
	if err != nil {
		return nil, err
	}
	return o.render(r), nil
}

// FileName returns the usual file name of the format, such as "errors.ts". It is empty if there is
// no such format.
func (f Format) FileName() string {
	o, _ := find(f)
	return o.file
}

func find(f Format) (output, error) {
	i := slices.IndexFunc(outputs, func(o output) bool { return o.format == f })
	if i < 0 {
		return output{}, fmt.Errorf("reference: there is no format %q: use one of %q", string(f), Formats())
	}
	return outputs[i], nil
}
