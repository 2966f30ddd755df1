package reference

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
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

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"codeSpans": codeSpans}).Parse(pageHTML))
)

// pagePolicy is the Content-Security-Policy in the page: nothing but its own style, script and
// icon. It still holds for a page that was saved.
var pagePolicy = "default-src 'none'; style-src " + hashSource(pageCSS) + "; script-src " + hashSource(pageJS) +
	"; img-src data:; base-uri 'none'; form-action 'none'"

// hashSource returns the source that allows an element with this text. A browser hashes the text
// after it has read each CRLF, which Git may write on Windows, as LF.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(strings.ReplaceAll(text, "\r\n", "\n")))
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
	Guide    pageGuide
}

// pageGuide has the texts that do not depend on the catalog.
type pageGuide struct {
	Statuses, Object, Handling string
	Members                    []member
	Retries                    []string
	RetryHeaders               []struct{ Name, Meaning string }
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
		Guide:    pageGuide{aboutStatuses, aboutObject, aboutHandling, members, aboutRetries, retryHeaders},
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
		p.Codes = append(p.Codes, pageCode{d, meaning(d), newExample(d.Status, r.exampleBody(d))})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		panic(err) // a mistake in the template
	}
	return b.Bytes()
}

// codeSpans returns text as HTML. The only markup of text is Markdown's code spans.
func codeSpans(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			part = "<code>" + template.HTMLEscapeString(part) + "</code>"
		} else {
			part = template.HTMLEscapeString(part)
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) //nolint:gosec // every part is escaped
}

// newExample returns the example of a response. Its body is indented JSON.
func newExample(status int, body string) pageExample {
	x := pageExample{Caption: statusText(status)}
	for text := range strings.Lines(body) {
		text = strings.TrimSuffix(text, "\n")
		colon := max(strings.IndexByte(text, ':'), 0)
		x.Lines = append(x.Lines, pageLine{text[:colon], text[colon:]})
	}
	return x
}
