package reference

import "github.com/seawall-go/seawall/apierror"

// BodiesOfExamples returns the definitions' example bodies.
func BodiesOfExamples(r *Reference) map[apierror.Code]string {
	bodies := make(map[apierror.Code]string)
	for _, d := range r.defs {
		bodies[d.Code] = r.exampleBody(d)
	}
	return bodies
}

// MarkdownText returns Markdown that shows a text as it is.
func MarkdownText(text string) string { return markdownText(text) }

// HashSource returns the source in a Content-Security-Policy that allows an element with a text.
func HashSource(text string) string { return hashSource(text) }
