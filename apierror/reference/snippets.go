package reference

import (
	_ "embed"
	"strings"
)

// snippet shows how a client handles errors in one language.
type snippet struct {
	ID       string // for HTML ids and Markdown fences
	Language string // for people
	Code     string
}

// snippets returns the snippets for the files of this reference.
func (r *Reference) snippets() []snippet {
	return []snippet{
		{"go", "Go", strings.ReplaceAll(goSnippet, "apierrors.", r.goPackage+".")},
		{"javascript", "JavaScript", javaScriptSnippet},
		{"python", "Python", pythonSnippet},
	}
}

var (
	//go:embed snippets/go.txt
	goSnippet string
	//go:embed snippets/javascript.txt
	javaScriptSnippet string
	//go:embed snippets/python.txt
	pythonSnippet string
)
