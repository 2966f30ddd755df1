package reference

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// pagePolicy is the Content-Security-Policy in the page: nothing but its own style, script and
// icon. It still holds for a page that was saved.
var pagePolicy = "default-src 'none'; style-src " + hashSource(pageCSS) + "; script-src " + hashSource(pageJS) +
	"; img-src data:; base-uri 'none'; form-action 'none'"

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page is what the template shows.
type page struct {
	Title    string
	Policy   string
	Style    template.CSS
	Script   template.JS
	Formats  []pageFormat
	Example  pageExample // the example of the error object
	Statuses []status
	Types    []errorType // those that the catalog has
	Codes    []pageCode
	Snippets []snippet
}

type pageFormat struct {
	Format            Format
	Name, ContentType string
}

type pageCode struct {
	apierror.Definition
	Meaning string
	Example pageExample
}

// pageExample is the body of a response.
type pageExample struct {
	Caption string
	Lines   []pageLine
}

// pageLine is a line of JSON: the name of a member, which is empty in other lines, and what
// follows it.
type pageLine struct{ Member, Rest string }

func (r *Reference) html() []byte {
	p := page{
		Title:    r.title,
		Policy:   pagePolicy,
		Style:    template.CSS(pageCSS), //nolint:gosec // a constant
		Script:   template.JS(pageJS),   //nolint:gosec // a constant
		Example:  newExample(http.StatusBadRequest, specExample),
		Statuses: r.statuses(),
		Snippets: r.snippets(),
	}
	for _, f := range r.files {
		if f.format != FormatHTML {
			p.Formats = append(p.Formats, pageFormat{f.format, f.name, f.contentType})
		}
	}
	for _, t := range errorTypes {
		if len(r.definitionsOf(t.Type)) > 0 {
			p.Types = append(p.Types, t)
		}
	}
	for _, d := range r.defs {
		p.Codes = append(p.Codes, pageCode{d, cmp.Or(d.Description, line(d.Message)), newExample(d.Status, r.exampleBody(d))})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		panic(err) // a mistake in the template
	}
	return b.Bytes()
}

// specExample is the specification's example of the error object.
const specExample = `{
  "error": {
    "type": "invalid_request_error",
    "code": "parameter_missing",
    "message": "Missing required parameter: name.",
    "param": "name",
    "request_id": "` + exampleRequestID + `"
  }
}`

// newExample returns the example of a response. Its body is indented JSON.
func newExample(status int, body string) pageExample {
	x := pageExample{Caption: strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))}
	for text := range strings.Lines(body) {
		text = strings.TrimSuffix(text, "\n")
		colon := max(strings.IndexByte(text, ':'), 0)
		x.Lines = append(x.Lines, pageLine{text[:colon], text[colon:]})
	}
	return x
}
