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
	m.block("The API uses conventional HTTP statuses to indicate the outcome of a request. A status in the 2xx range means success, 4xx a problem with the request, and 5xx a rare error on our side.")
	r.markdownObject(&m)
	r.markdownStatuses(&m)
	r.markdownTypes(&m)
	r.markdownCodes(&m)
	r.markdownHandling(&m)
	r.markdownRetries(&m)
	return []byte(m.String())
}

func (r *Reference) markdownObject(m *markdownWriter) {
	m.block("## The error object")
	m.block("Every failed request returns a JSON body with an error object. The `type` groups errors into broad categories, and the `code` identifies the specific problem: branch on the code. Ignore members that you do not know.")
	d, _ := apierror.DefaultCatalog().Lookup(apierror.CodeParameterMissing)
	d.Message = "Missing required parameter: " + exampleParam + "."
	m.fence("json", r.exampleBody(d))
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
	m.block("Look at the status first, then branch on the code. The examples use the files with typed errors, which need nothing but the standard library of their language.")
	for _, s := range r.snippets() {
		m.block("In " + s.Language + ":")
		m.fence(s.ID, s.Code)
	}
}

func (r *Reference) markdownRetries(m *markdownWriter) {
	m.block("## Rate limits and retries")
	m.block("If you exceed a rate limit, you receive a 429 with a `Retry-After` header. Retry 429 and 5xx responses, except 501, with exponential backoff. Attach an `Idempotency-Key` to writes, so that retries never duplicate work.")
	m.block("Never retry a 4xx other than 429 without changing the request: the result will be the same.")
	m.block("Log the `request_id` of every error, so that support can trace any issue quickly.")
	m.table("Header", "Meaning")
	m.row("`Retry-After`", "On a response: the seconds to wait before a retry.")
	m.row("`X-Should-Retry`", "On a response: if it is `false`, do not retry, whatever the status is.")
	m.row("`Idempotency-Key`", "On a request: a unique value for each write. All attempts of one write have the same key.")
	m.row("`Request-Id`", "On every response: the id of the request.")
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
