package reference

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// markdown returns the page as Markdown, for GitHub. The heading of a code is its anchor: no other
// heading has the form of a code, except a title of one word.
func (r *Reference) markdown() []byte {
	var m markdownWriter
	m.block("# " + markdownText(r.title))
	m.block("Every failed request is answered with a JSON object that has one member, `error`. Look at the status first, then branch on `error.code`.")
	r.markdownObject(&m)
	r.markdownStatuses(&m)
	r.markdownTypes(&m)
	r.markdownCodes(&m)
	r.markdownHandling(&m)
	m.block("## Rate limits and retries")
	m.line("")
	for _, rule := range retryRules {
		m.line("- " + rule)
	}
	return []byte(m.String())
}

func (r *Reference) markdownObject(m *markdownWriter) {
	m.block("## The error object")
	d, _ := apierror.DefaultCatalog().Lookup(apierror.CodeParameterMissing)
	d.Message = "Missing required parameter: " + exampleParam + "."
	m.fence("json", r.exampleBody(d))
	m.table("Member", "Meaning")
	for _, member := range members {
		m.row("`"+member.Name+"`", member.Meaning)
	}
	m.block("Ignore members that you do not know.")
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
		m.row("`"+string(t.Type)+"`", t.Meaning, codeLinks(codesOf(r.definitionsOf(t.Type))))
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
	for _, s := range r.snippets() {
		m.block("In " + s.Language + ":")
		m.fence(s.ID, s.Code)
	}
}

// retryRules say when a client may retry. They are Markdown.
var retryRules = []string{
	"Retry only 429 and 5xx other than 501, with exponential backoff and jitter. For any other status, the result will be the same until you change the request.",
	"Wait for at least as long as the `Retry-After` header says.",
	"Do not retry if the header `X-Should-Retry` is `false`.",
	"Send the same `Idempotency-Key` header with all attempts of a write, so that retries never duplicate work.",
	"Log the `request_id` of every failure, so that support can trace it.",
}

func codeLink(code apierror.Code) string { return "[`" + string(code) + "`](#" + string(code) + ")" }

func codeLinks(codes []apierror.Code) string {
	links := make([]string, len(codes))
	for i, code := range codes {
		links[i] = codeLink(code)
	}
	return strings.Join(links, ", ")
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status)))
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

// fence writes a block of code, no line of which may begin with a backquote.
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
