package reference_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unicode"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

var update = flag.Bool("update", false, "write the golden files")

// catalogs are the catalogs of the golden files.
var catalogs = map[string]*apierror.Catalog{
	"builtin": apierror.DefaultCatalog(),
	"core":    apierror.CoreCatalog(),
	"custom": apierror.MustCatalog(
		apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined.",
			Description: "The bank refused the payment.", Resolution: "Ask the customer for another card."},
		apierror.Definition{Code: "account_frozen", Type: apierror.TypePermission, Status: 423, Message: "The account is frozen."},
		apierror.Definition{Code: "ledger_locked", Type: apierror.TypeAPI, Status: 503, Message: "The ledger is locked.",
			Description: "The books are being closed. Ça finit à minuit.", Resolution: "Try again after midnight.", NotRetryable: true},
		apierror.Definition{Code: "daily_quota", Type: apierror.TypeRateLimit, Status: 429, Message: "The daily quota is used up."},
		apierror.Definition{Code: "class", Type: apierror.TypeIdempotency, Status: 422, Message: "A keyword in every language."},
	),
	"hostile": apierror.MustCatalog(hostileDefinitions()...),
}

// hostileTexts break out of a language's strings and comments if they are not escaped.
var hostileTexts = []string{
	`</script><script>alert(1)</script><img src=x onerror=alert(1)>`,
	`" onmouseover="alert(1)" ' onfocus='alert(1)`,
	"`${alert(1)}` {{.}} {% raw %} <%= 1 %> #{1} $(id) %s %d %!v",
	`*/ alert(1) /* --> <!-- // # """ ''' ]]>`,
	"first\nsecond\r\nthird\u2028fourth\u2029fifth\x00\x1b[31m\x7f",
	`\n \u0022 \" \\ \` + "`" + `| cell | [link](javascript:alert(1)) ![i](x) # heading **b** ~~~`,
	"\u202eright to left\u202c \ufeff zero\u200bwidth \xff\xfe invalid",
	"\"\"\"\nimport os\nos.abort()\n\"\"\"",
	"*/\npanic(1)\n/*",
	`\`,
	`javascript:alert(1)`,
	"~~~\n```\n# x\n<b>",
	"+ADw-script+AD4-alert(1)",
	"&lt;b&gt; &amp; &#x27;",
}

func hostileDefinitions() (defs []apierror.Definition) {
	types := []apierror.Type{apierror.TypeInvalidRequest, apierror.TypeAPI, apierror.TypePermission}
	for i, text := range hostileTexts {
		defs = append(defs, apierror.Definition{
			Code: apierror.Code("hostile_" + string(rune('a'+i))), Type: types[i%len(types)], Status: 422 + i,
			Message: text, Description: text, Resolution: text,
		})
	}
	for i, word := range []string{"constructor", "prototype", "none", "true", "import", "type", "error", "func", "self", "to"} {
		defs = append(defs, apierror.Definition{Code: apierror.Code(word), Type: types[i%len(types)], Status: 400 + i, Message: word})
	}
	return defs
}

func TestOutputsMatchGoldenFiles(t *testing.T) {
	t.Parallel()
	for name, catalog := range catalogs {
		options := &reference.Options{Title: "Payments API errors", GoPackage: "payments"}
		if name == "hostile" {
			options.Title = hostileTexts[0] + hostileTexts[4]
		}
		docs := reference.New(catalog, options)
		for _, format := range reference.Formats() {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				t.Parallel()
				got, err := docs.Render(format)
				if err != nil {
					t.Fatal(err)
				}
				again, _ := reference.New(catalog, options).Render(format)
				if !bytes.Equal(got, again) {
					t.Error("a second rendering differs")
				}
				file := filepath.Join("testdata", "golden", name, format.FileName())
				if *update {
					if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, got, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s differs: %s\nIf that is right, run go test ./apierror/reference -update", file, difference(got, want))
				}
			})
		}
	}
}

// Such characters would change how a terminal or an editor shows the text around them.
func TestNoOutputHasInvisibleCharacters(t *testing.T) {
	t.Parallel()
	const text = "a\u202eb\u2066c\u200bd\ufeffe\U000e0041f\u009bg\x7fh\x1bi\u2028j\rk"
	docs := reference.New(apierror.MustCatalog(apierror.Definition{
		Code: "own", Type: apierror.TypeAPI, Status: 500, Message: text, Description: text, Resolution: text,
	}), &reference.Options{Title: text})
	for _, format := range reference.Formats() {
		output, _ := docs.Render(format)
		for _, r := range string(output) {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
				t.Errorf("%s has %U", format, r)
			}
		}
	}
	export, _ := docs.Render(reference.FormatJSON)
	again, err := reference.Parse(export, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changes := reference.Diff(docs, again); len(changes) > 0 {
		t.Errorf("the export means something else: %s", changes)
	}
}

// difference returns the first line that differs.
func difference(got, want []byte) string {
	before := bytes.Split(want, []byte("\n"))
	for i, text := range bytes.Split(got, []byte("\n")) {
		if i >= len(before) || !bytes.Equal(text, before[i]) {
			return fmt.Sprintf("line %d is %.300q", i+1, text)
		}
	}
	return "the end is missing"
}
