package reference

import (
	"fmt"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// markdown returns the page as Markdown, for GitHub. The heading of a code is its anchor: no other
// heading has the form of a code, except a title of one word.
func (r *Reference) markdown() []byte {
	var m markdownWriter
	m.block("# " + markdownText(r.title))
	m.block(aboutStatuses)
	markdownObject(&m)
	r.markdownStatuses(&m)
	r.markdownTypes(&m)
	r.markdownCodes(&m)
	r.markdownHandling(&m)
	markdownRetries(&m)
	return []byte(m.String())
}

func markdownObject(m *markdownWriter) {
	m.block("## The error object")
	m.block(aboutObject)
	m.fence("json", specExample)
	m.table("Member", "Meaning")
	for _, member := range members {
		m.row("`"+member.Name+"`", member.Meaning)
	}
}

func (r *Reference) markdownStatuses(m *markdownWriter) {
	m.block("## HTTP statuses")
	m.table("Status", "Meaning", "Codes")
	for _, s := range r.statuses() {
		m.row(statusText(s.Status), s.Meaning, codeLinks(s.Codes))
	}
}

func (r *Reference) markdownTypes(m *markdownWriter) {
	m.block("## Error types")
	m.table("Type", "Meaning", "Codes")
	for _, t := range errorTypes {
		if defs := r.definitionsOf(t.Type); len(defs) > 0 {
			m.row("`"+string(t.Type)+"`", t.Meaning, codeLinks(codesOf(defs)))
		}
	}
}

func (r *Reference) markdownCodes(m *markdownWriter) {
	m.block("## Error codes")
	m.table("Code", "Type", "Status", "Retryable", "Meaning")
	for _, d := range r.defs {
		m.row(codeLink(d.Code), "`"+string(d.Type)+"`", fmt.Sprint(d.Status), yesOrNo(d.Retryable()), markdownText(meaning(d)))
	}
	for _, d := range r.defs {
		m.block("### `" + string(d.Code) + "`")
		m.block(markdownText(meaning(d)))
		if d.Resolution != "" {
			m.block("**What to do:** " + markdownText(d.Resolution))
		}
		m.line("")
		m.line("- Type: `" + string(d.Type) + "`")
		m.line("- Status: " + statusText(d.Status))
		m.line("- Retryable: " + yesOrNo(d.Retryable()))
		m.fence("json", r.exampleBody(d))
	}
}

func (r *Reference) markdownHandling(m *markdownWriter) {
	m.block("## Handling errors")
	m.block(aboutHandling)
	for _, s := range r.snippets() {
		m.block("In " + s.Language + ":")
		m.fence(s.ID, s.Code)
	}
}

func markdownRetries(m *markdownWriter) {
	m.block("## Rate limits and retries")
	for _, text := range aboutRetries {
		m.block(text)
	}
	m.table("Header", "Meaning")
	for _, h := range retryHeaders {
		m.row("`"+h.Name+"`", h.Meaning)
	}
}

func codeLink(code apierror.Code) string { return "[`" + string(code) + "`](#" + string(code) + ")" }

func codeLinks(codes []apierror.Code) string {
	links := make([]string, len(codes))
	for i, code := range codes {
		links[i] = codeLink(code)
	}
	return strings.Join(links, ", ")
}

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// markdownWriter builds a Markdown document. It escapes nothing.
type markdownWriter struct{ strings.Builder }

func (m *markdownWriter) line(text string) { m.WriteString(text + "\n") }

// block writes a heading or a paragraph.
func (m *markdownWriter) block(text string) {
	if m.Len() > 0 {
		m.line("")
	}
	m.line(text)
}

// fence writes a block of code. No line of the code may begin with a backquote.
func (m *markdownWriter) fence(language, code string) {
	m.block("```" + language)
	m.line(strings.TrimSuffix(code, "\n"))
	m.line("```")
}

// table begins a table. Its rows follow.
func (m *markdownWriter) table(columns ...string) {
	m.line("")
	m.row(columns...)
	m.line(strings.Repeat("|---", len(columns)) + "|")
}

func (m *markdownWriter) row(cells ...string) { m.line("| " + strings.Join(cells, " | ") + " |") }
