package reference_test

import (
	"testing"

	"github.com/seawall-go/seawall/apierror/reference"
)

func TestMarkdownTextEscapesMarkup(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"prose", `Wait (at most 5 s), then retry: it's "safe"!`, `Wait (at most 5 s), then retry: it's "safe"!`},
		{"name", "the request_id of parameter_missing", "the request_id of parameter_missing"},
		{"not only ASCII", "Ça finit à minuit.", "Ça finit à minuit."},

		{"emphasis", "*a* **b** _c_ __d__", `\*a\* \*\*b\*\* \_c\_ \_\_d\_\_`},
		{"underscores beside words", "a_ _b a__b a_é é_b", `a\_ \_b a\_\_b a\_é é\_b`},
		{"underscore between letters and digits", "a_1_Z_z_9_A_0", "a_1_Z_z_9_A_0"},
		{"strikethrough", "~~a~~", `\~\~a\~\~`},
		{"code", "`a`", "\\`a\\`"},
		{"escape", `\*a\`, `\\\*a\\`},
		{"link", "[a](javascript:alert(1))", `\[a\](javascript:alert(1))`},
		{"image", "![a](b)", `!\[a\](b)`},
		{"footnote", "[^1]", `\[^1\]`},
		{"element", "<b onclick='a'>b</b>", `\<b onclick='a'>b\</b>`},
		{"comment", "<!-- a -->", `\<!-- a -->`},
		{"reference to a character", "&lt; &#60;", `\&lt; \&\#60;`},
		{"cell", "a | b", `a \| b`},
		{"cell after a backslash", `a \| b`, `a \\\| b`},
		{"formula", "$a$", `\$a\$`},
		{"expression", "{a} {{b}}", `\{a} \{\{b}}`},

		{"link without brackets", "http://a.example, HTTPS://b.example", `http\://a.example, HTTPS\://b.example`},
		{"link without a scheme", "www.a.example, WWW.b.example", `www\.a.example, WWW\.b.example`},
		{"address", "a@b.example", `a\@b.example`},
		{"address in angle brackets", "<a@b.example>", `\<a\@b.example>`},

		{"heading", "# a", `\# a`},
		{"end of a heading", "a #", `a \#`},
		{"underline of a heading", "=== a", `\=== a`},
		{"list", "- a - b", `\- a - b`},
		{"list with plus signs", "+ a + b", `\+ a + b`},
		{"numbered list", "12. a 3. b", `12\. a 3. b`},
		{"numbered list with parentheses", "1) a 2) b", `1\) a 2) b`},
		{"number", "1.5 is 1.5", `1\.5 is 1.5`},
		{"dot", ". a", ". a"},
		{"quotation", "> a > b", `\> a > b`},
		{"line", "--- ---", `\--- ---`},
		{"fence", "~~~", `\~\~\~`},

		{"indented code", "    a", "a"},
		{"hard line break", "a  ", "a"},
		{"several lines", "a\n\n# b\r\n- c\u2028d\x00e", `a  \# b  - c d e`},
		{"control and format characters", "\x1b\u202ea\u200bb", "ab"},
		{"invalid UTF-8", "a\xffb", "a\ufffdb"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := reference.MarkdownText(row.text); got != row.want {
				t.Errorf("%q becomes\n%s instead of\n%s", row.text, got, row.want)
			}
		})
	}
}
