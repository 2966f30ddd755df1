package reference_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

func render(t testing.TB, docs *reference.Reference, f reference.Format) []byte {
	t.Helper()
	text, err := docs.Render(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseReadsWhatWasExported(t *testing.T) {
	t.Parallel()
	for name, catalog := range catalogs {
		docs := reference.New(catalog, &reference.Options{Title: "Payments API errors", GoPackage: "payments"})
		again, err := reference.Parse(render(t, docs, reference.FormatJSON), &reference.Options{GoPackage: "payments"})
		if err != nil {
			t.Fatal(name, err)
		}
		if changes := reference.Diff(docs, again); len(changes) > 0 {
			t.Error(name, changes)
		}
		for _, f := range reference.Formats() {
			if !bytes.Equal(render(t, docs, f), render(t, again, f)) {
				t.Errorf("%s: the %s of the parsed export differs", name, f)
			}
		}
	}
}

func TestParseTakesTitleOfOptions(t *testing.T) {
	t.Parallel()
	export := render(t, reference.New(nil, &reference.Options{Title: "Old"}), reference.FormatJSON)
	docs, err := reference.Parse(export, &reference.Options{Title: "New"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(render(t, docs, reference.FormatJSON)); !strings.Contains(got, `"title": "New"`) {
		t.Error(got)
	}
}

func TestParseRefusesInvalidExports(t *testing.T) {
	t.Parallel()
	const ok = `{"code":"a","type":"api_error","status":500,"retryable":true,"message":"A."}`
	document := func(codes string) string { return `{"version":1,"title":"","codes":[` + codes + `]}` }
	if _, err := reference.Parse([]byte(document(ok)), nil); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, document, want string }{
		{"empty", "", "not an export of a catalog"},
		{"HTML", "<!doctype html>", "not an export of a catalog"},
		{"another form", `{"version":"1"}`, "not an export of a catalog"},
		{"null", `null`, "version 0"},
		{"another document", `{}`, "version 0"},
		{"a later version", `{"version":2,"codes":[]}`, "version 2 instead of 1"},
		{"a later version in another form", `{"version":2,"codes":{"a":{}}}`, "version 2 instead of 1"},
		{"no codes", `{"version":1}`, `no "codes"`},
		{"null as the codes", `{"version":1,"codes":null}`, `no "codes"`},
		{"null as a code", document("null"), `the code "" does not match`},
		{"two documents", document(ok) + document(ok), "after top-level value"},
		{"deep nesting", `{"version":1,"codes":[],"x":` + strings.Repeat("[", 1<<20), "exceeded max depth"},
		{"bad code", document(strings.Replace(ok, `"a"`, `"*/ x"`, 1)), `the code "*/ x" does not match`},
		{"bad type", document(strings.Replace(ok, "api_error", "card_error", 1)), `unknown type "card_error"`},
		{"bad status", document(strings.Replace(ok, "500", "200", 1)), "status 200"},
		{"no message", document(strings.Replace(ok, `"A."`, `""`, 1)), "no default message"},
		{"twice", document(ok + "," + ok), `defines the code "a" twice`},
		{"retries of a 4xx", document(strings.Replace(ok, "500", "400", 1)), "cannot be retryable with status 400"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			docs, err := reference.Parse([]byte(row.document), nil)
			if err == nil || docs != nil || !strings.Contains(err.Error(), row.want) {
				t.Error(err)
			}
		})
	}
}

// An export may come from anywhere, and the error goes to a terminal.
func TestErrorAboutAnInvalidExportIsShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("A", 1<<20)
	for name, codes := range map[string]string{
		"long texts": `{"code":"` + long + `","type":"` + long + `"}`,
		"many codes": strings.Repeat(`{},`, 1<<16) + `{}`,
	} {
		_, err := reference.Parse([]byte(`{"version":1,"codes":[`+codes+`]}`), nil)
		if err == nil || len(err.Error()) > 4096 {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	// The seeds are short, because go test takes up to a minute to make an input smaller.
	for _, text := range hostileTexts {
		code := map[string]any{"code": "a", "type": apierror.TypeAPI, "status": 429, "retryable": true, "message": text, "resolution": text}
		seed, err := json.Marshal(map[string]any{"version": 1, "title": text, "codes": []any{code}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"version":1,"codes":[{"code":"a","type":"api_error","status":501,"message":"\ud800"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		docs, err := reference.Parse(document, nil)
		if err != nil {
			return
		}
		export := render(t, docs, reference.FormatJSON)
		again, err := reference.Parse(export, nil)
		if err != nil {
			t.Fatalf("the export of a parsed export is refused: %v\n%s", err, export)
		}
		if changes := reference.Diff(docs, again); len(changes) > 0 {
			t.Error(changes)
		}
		for _, f := range reference.Formats() {
			if len(render(t, again, f)) == 0 {
				t.Errorf("%s is empty", f)
			}
		}
	})
}

func TestReferenceKnowsItsFormats(t *testing.T) {
	t.Parallel()
	docs := reference.New(nil, nil)
	if _, err := docs.Render("pdf"); err == nil || !strings.Contains(err.Error(), `"pdf"`) {
		t.Error(err)
	}
	if name := reference.Format("pdf").FileName(); name != "" {
		t.Error(name)
	}
	files := make(map[string]bool)
	for _, f := range reference.Formats() {
		files[f.FileName()] = true
	}
	if len(files) != len(reference.Formats()) || files[""] {
		t.Error(files)
	}
}

func TestDocURLLinksCodesOfCatalog(t *testing.T) {
	t.Parallel()
	link := reference.New(apierror.CoreCatalog(), nil).DocURL("https://api.example.com/docs/errors")
	for code, want := range map[apierror.Code]string{
		apierror.CodeAPIError:         "https://api.example.com/docs/errors#api_error",
		apierror.CodeTimeout:          "",
		"":                            "",
		apierror.Code("x\"><script>"): "",
	} {
		if got := link(code); got != want {
			t.Errorf("%q: %q", code, got)
		}
	}
}

func TestDocURLReplacesOnlyFragmentOfPage(t *testing.T) {
	t.Parallel()
	docs := reference.New(nil, nil)
	for page, want := range map[string]string{
		"https://a.example/errors?v=2": "https://a.example/errors?v=2#timeout",
		"https://a.example/errors#top": "https://a.example/errors#timeout",
		"https://a.example/errors#":    "https://a.example/errors#timeout",
		"/errors":                      "/errors#timeout",
		"":                             "#timeout",
	} {
		if got := docs.DocURL(page)(apierror.CodeTimeout); got != want {
			t.Errorf("%q: %q", page, got)
		}
	}
}

func TestNewPanicsForInvalidPackageNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "a b", "a;b", "1", "_"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is accepted", name)
				}
			}()
			reference.New(nil, &reference.Options{GoPackage: name})
		}()
	}
}
