package schematest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	gmhtml "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"

	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/internal/plain"
)

// github renders Markdown as GitHub does, but leaves HTML as it is.
var github = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(gmhtml.WithUnsafe()))

// page is a Markdown document as a browser shows it.
type page struct {
	elements []string            // in order: begin tags with their attributes, and end tags
	texts    map[string][]string // the texts of elements, by name, with single spaces
	links    []string
}

func show(t testing.TB, markdown []byte) page {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, github.Convert(markdown, &b))
	root, err := html.Parse(&b)
	require.NoError(t, err)
	p := page{texts: make(map[string][]string)}
	p.add(root)
	return p
}

// add adds a node and what is in it, and returns its text.
func (p *page) add(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	if n.Type == html.CommentNode {
		p.elements = append(p.elements, "<!-->")
	}
	begin := n.Data
	for _, a := range n.Attr {
		begin += " " + a.Key + "=" + a.Val
		if a.Key == "href" {
			p.links = append(p.links, a.Val)
		}
	}
	if n.Type == html.ElementNode {
		p.elements = append(p.elements, "<"+begin+">")
	}
	var text strings.Builder
	for child := range n.ChildNodes() {
		text.WriteString(p.add(child))
	}
	if n.Type == html.ElementNode {
		p.elements = append(p.elements, "</"+n.Data+">")
		p.texts[n.Data] = append(p.texts[n.Data], folded(text.String()))
	}
	return text.String()
}

// folded returns a text with single spaces, as a browser shows it.
func folded(text string) string { return strings.Join(strings.Fields(text), " ") }

// definition is a definition in an export.
type definition struct {
	Code        string `json:"code"`
	Type        string `json:"type"`
	Status      int    `json:"status"`
	Retryable   bool   `json:"retryable"`
	Message     string `json:"message"`
	Description string `json:"description,omitempty"`
	Resolution  string `json:"resolution,omitempty"`
}

type export struct {
	Version int          `json:"version"`
	Title   string       `json:"title"`
	Codes   []definition `json:"codes"`
}

func (x export) json(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(x)
	require.NoError(t, err)
	return text
}

// plain returns the export with other texts, which have nothing that Markdown reads.
func (x export) plain() export {
	word := func(text string) string {
		if text == "" {
			return ""
		}
		return "word"
	}
	codes := make([]definition, len(x.Codes))
	for i, d := range x.Codes {
		d.Message, d.Description, d.Resolution = word(d.Message), word(d.Description), word(d.Resolution)
		codes[i] = d
	}
	return export{x.Version, word(x.Title), codes}
}

// cleaned returns an export as reference.Parse reads it.
func cleaned(t testing.TB, text []byte) export {
	t.Helper()
	var x export
	require.NoError(t, json.Unmarshal(render(t, text, reference.FormatJSON), &x))
	return x
}

func TestNoElementComesFromText(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		t.Run(catalog, func(t *testing.T) {
			t.Parallel()
			x := cleaned(t, exported(t, catalog))
			got := show(t, render(t, x.json(t), reference.FormatMarkdown))
			want := show(t, render(t, x.plain().json(t), reference.FormatMarkdown))
			require.Greater(t, len(want.elements), 500)
			require.Equal(t, want.elements, got.elements)
		})
	}
}

func TestMarkdownShowsTextsUnchanged(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		x := cleaned(t, exported(t, catalog))
		p := show(t, render(t, x.json(t), reference.FormatMarkdown))
		require.Equal(t, []string{folded(x.Title)}, p.texts["h1"])
		var resolutions []string
		for _, d := range x.Codes {
			require.Contains(t, p.texts["td"], folded(d.meaning()))
			require.Contains(t, p.texts["p"], folded(d.meaning()))
			if d.Resolution != "" {
				resolutions = append(resolutions, folded("What to do: "+d.Resolution))
			}
		}
		got := slices.DeleteFunc(p.texts["p"], func(text string) bool { return !strings.HasPrefix(text, "What to do:") })
		require.Equal(t, resolutions, got)
	}
}

func (d definition) meaning() string {
	if d.Description != "" {
		return d.Description
	}
	return plain.Text(d.Message, 16<<10)
}

func TestMarkdownExamplesAreTheBodies(t *testing.T) {
	t.Parallel()
	x := cleaned(t, exported(t, "hostile"))
	var examples []map[string]any
	for _, code := range show(t, render(t, x.json(t), reference.FormatMarkdown)).texts["code"] {
		var body struct{ Error map[string]any }
		if json.Unmarshal([]byte(code), &body) == nil && body.Error != nil {
			examples = append(examples, body.Error)
		}
	}
	require.Len(t, examples, len(x.Codes)+1, "the first one is that of the error object")
	for i, d := range x.Codes {
		require.Equal(t, d.Code, examples[i+1]["code"])
		require.Equal(t, folded(d.Message), folded(examples[i+1]["message"].(string)))
	}
}

// GitHub makes a heading's anchor from its text in lower case: spaces become hyphens, and
// punctuation other than hyphens and underscores is removed.
var punctuation = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)

func TestEveryLinkLeadsToHeadingOfItsCode(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		x := cleaned(t, exported(t, catalog))
		p := show(t, render(t, x.json(t), reference.FormatMarkdown))
		var codes []string
		for _, d := range x.Codes {
			codes = append(codes, d.Code)
		}
		require.Equal(t, codes, p.texts["h3"])
		anchors := make(map[string]bool)
		for _, level := range []string{"h1", "h2", "h3"} {
			for _, heading := range p.texts[level] {
				anchor := strings.ReplaceAll(punctuation.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
				require.False(t, anchors[anchor], "%q is twice", anchor)
				anchors[anchor] = true
			}
		}
		require.Len(t, p.links, 3*len(codes), "in the tables of statuses, types and codes")
		for _, link := range p.links {
			code, isAnchor := strings.CutPrefix(link, "#")
			require.True(t, isAnchor && anchors[code], link)
		}
	}
}

// tokens are what Markdown is made of.
var tokens = []string{
	"*", "**", "_", "__", "`", "``", "```", "~", "~~", "[", "]", "(", ")", "<", ">", "&", ";", "&lt;", "#", "# ", "- ", "+ ", "1. ", "1) ", "> ",
	"|", "\\", "\\|", "a", "b", "0", "é", " ", "  ", "\t", "\n", "!", "![", "](", "[^1]", "[x] ", "http://", "https://a.b", "ftp://", "www.",
	"www.a.b", "mailto:", "@", "a@b.c", ".", ":", ":-", "-", "---", "=", "===", "<b>", "</b>", "<!--", "-->", "$", "{", "}", "\"", "'", "^", "\u00a0",
}

func TestNoElementComesFromRandomText(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range 1 + random.IntN(9) {
			b.WriteString(tokens[random.IntN(len(tokens))])
		}
		return b.String()
	}
	x := export{Version: 1, Title: "a"}
	for i := range 500 {
		x.Codes = append(x.Codes, definition{fmt.Sprintf("code_%d", i), "api_error", 500, true, "m", text(), text()})
	}
	x = cleaned(t, x.json(t))
	got := show(t, render(t, x.json(t), reference.FormatMarkdown))
	want := show(t, render(t, x.plain().json(t), reference.FormatMarkdown))
	require.True(t, slices.Equal(want.elements, got.elements), "the elements differ") // they are many
	cells, paragraphs := make(map[string]bool), make(map[string]bool)
	for _, cell := range got.texts["td"] {
		cells[cell] = true
	}
	for _, paragraph := range got.texts["p"] {
		paragraphs[paragraph] = true
	}
	for _, d := range x.Codes {
		require.True(t, cells[folded(d.meaning())], "%q", d.meaning())
		require.True(t, d.Resolution == "" || paragraphs[folded("What to do: "+d.Resolution)], "%q", d.Resolution)
	}
}

func FuzzMarkdownText(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		x := cleaned(t, export{1, text, []definition{
			{"described", "api_error", 500, true, "m", text, text},
			{"undescribed", "api_error", 500, true, text + ".", "", ""},
		}}.json(t))
		got := show(t, render(t, x.json(t), reference.FormatMarkdown))
		want := show(t, render(t, x.plain().json(t), reference.FormatMarkdown))
		require.Equal(t, want.elements, got.elements)

		require.Equal(t, []string{folded(x.Title)}, got.texts["h1"])
		for _, d := range x.Codes {
			require.Contains(t, got.texts["td"], folded(d.meaning()))
			require.Contains(t, got.texts["p"], folded(d.meaning()))
		}
		if d := x.Codes[0]; d.Resolution != "" {
			require.Contains(t, got.texts["p"], folded("What to do: "+d.Resolution))
		}
	})
}
