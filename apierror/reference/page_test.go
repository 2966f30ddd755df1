package reference_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

func TestExamplesOnPageAreWhatRendererSends(t *testing.T) {
	t.Parallel()
	for name, catalog := range catalogs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, examples := read(t, reference.New(catalog, nil))
			for _, d := range catalog.Definitions() {
				e := d.New()
				if d.Code == apierror.CodeParameterMissing || d.Code == apierror.CodeParameterInvalid {
					e = e.WithParam("name")
				}
				fails := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return e })
				w := httptest.NewRecorder()
				(&apierror.Renderer{Catalog: catalog, Logger: slog.New(slog.DiscardHandler)}).Handler(fails).
					ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
				sent := strings.ReplaceAll(w.Body.String(), w.Header().Get("Request-Id"), "req_Hd92kLpQ7mXw3TzB")
				if got := examples[string(d.Code)]; !slices.Equal(tokens(t, got), tokens(t, sent)) {
					t.Errorf("%s: the page has\n%s\nbut the renderer sends\n%s", d.Code, got, sent)
				}
			}
		})
	}
}

// The same catalog with harmless texts has the same elements with the same attributes.
func TestTextsAddNoElementsAndNoAttributes(t *testing.T) {
	t.Parallel()
	harmless := hostileDefinitions()
	for i := range harmless {
		d := &harmless[i]
		d.Message = "Message."
		if d.Description != "" {
			d.Description, d.Resolution = "Description.", "Resolution."
		}
	}
	want, _ := read(t, reference.New(apierror.MustCatalog(harmless...), nil))
	for _, text := range hostileTexts {
		got, _ := read(t, reference.New(catalogs["hostile"], &reference.Options{Title: text}))
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("with the title %q, the page has\n%s\ninstead of\n%s", text, got[min(i, len(got)):], want[min(i, len(want)):])
			}
		}
	}
}

func TestPageLinksOnlyToItself(t *testing.T) {
	t.Parallel()
	tags, _ := read(t, reference.New(catalogs["hostile"], nil))
	for _, tag := range tags {
		own := regexp.MustCompile(` href=(#[\w-]+|\?format=\w+|data:,)[ >]`)
		if strings.Contains(tag, " src") || strings.Contains(tag, " href=") && !own.MatchString(tag) {
			t.Errorf("the page has %s", tag)
		}
	}
}

func TestPageHasEntryForEachCode(t *testing.T) {
	t.Parallel()
	for name, catalog := range catalogs {
		docs := reference.New(catalog, nil)
		page, _ := docs.Render(reference.FormatHTML)
		link := docs.DocURL("/docs/errors")
		for _, d := range catalog.Definitions() {
			path, fragment, _ := strings.Cut(link(d.Code), "#")
			if path != "/docs/errors" || bytes.Count(page, []byte(`<article id="`+fragment+`"`)) != 1 || bytes.Count(page, []byte(` id="`+fragment+`"`)) != 1 {
				t.Errorf("%s: %s is the link of no entry, or of several", name, link(d.Code))
			}
		}
		if got, want := bytes.Count(page, []byte("<article ")), len(catalog.Definitions()); got != want {
			t.Errorf("%s: %d entries for %d codes", name, got, want)
		}
	}
}

func TestPageOfCoreCatalogHasOnlyCoreCodes(t *testing.T) {
	t.Parallel()
	page, _ := reference.New(apierror.CoreCatalog(), nil).Render(reference.FormatHTML)
	for _, d := range apierror.DefaultCatalog().Definitions()[len(apierror.CoreCatalog().Definitions()):] {
		if bytes.Contains(page, []byte(d.Code)) {
			t.Errorf("the page has %s", d.Code)
		}
	}
	var statuses []string
	for _, row := range regexp.MustCompile(`<th scope="row"><code>(\d+)<`).FindAllSubmatch(page, -1) {
		statuses = append(statuses, string(row[1]))
	}
	if got := fmt.Sprint(statuses); got != "[200 201 400 401 403 404 409 429 500]" {
		t.Errorf("the page has the statuses %s", got)
	}
}

func TestEntryWithoutTextsHasItsMessage(t *testing.T) {
	t.Parallel()
	catalog := apierror.MustCatalog(apierror.Definition{Code: "frozen", Type: apierror.TypeAPI, Status: 599, Message: "The <account>\nis frozen."})
	page, _ := reference.New(catalog, nil).Render(reference.FormatHTML)
	_, entry, _ := bytes.Cut(page, []byte(`<article id="frozen"`))
	entry, _, _ = bytes.Cut(entry, []byte("</article>"))
	if !bytes.Contains(entry, []byte("<p>The &lt;account&gt; is frozen.</p>")) || bytes.Contains(entry, []byte("What to do")) || !bytes.Contains(entry, []byte("<figcaption>599</figcaption>")) {
		t.Errorf("%s", entry)
	}
}

var inline = regexp.MustCompile(`(?s)<(style|script)>.*?</(style|script)>`)

// read returns the start tags of a page, and the text of the first pre in each article. It leaves
// out the attributes that hold the title or a hash.
func read(t *testing.T, docs *reference.Reference) (tags []string, examples map[string]string) {
	t.Helper()
	page, err := docs.Render(reference.FormatHTML)
	if err != nil {
		t.Fatal(err)
	}
	examples = make(map[string]string)
	dec := xml.NewDecoder(bytes.NewReader(inline.ReplaceAll(page, nil)))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var article string
	var example strings.Builder
	depth := 0 // in a pre
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return tags, examples
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name, tag := token.Name.Local, token.Name.Local
			for _, a := range token.Attr {
				if a.Name.Local == "id" && name == "article" {
					article = a.Value
				}
				if a.Name.Local == "content" && name == "meta" {
					a.Value = ""
				}
				tag += " " + a.Name.Local + "=" + a.Value
			}
			tags = append(tags, "<"+tag+">")
			if name == "pre" || depth > 0 {
				depth++
			}
		case xml.EndElement:
			if depth--; depth == 0 && article != "" {
				examples[article] = example.String()
				article = ""
			}
			depth = max(depth, 0)
			if token.Name.Local == "pre" {
				example.Reset()
			}
		case xml.CharData:
			if depth > 0 {
				example.Write(token)
			}
		case xml.Comment:
			t.Errorf("the page has the comment %s", token)
		}
	}
}
