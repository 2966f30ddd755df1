package langtest

import (
	"bytes"
	"encoding/json"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror/reference"
)

// texts break out of comments, or are read by a tool, if they are not escaped.
var texts = []string{
	"*/ alert(1) /*", "**/", "*\\/", "/*", `"""`, `\"""`, `\\"""`, `ends in "`, `ends in \`, `\N{BULLET} \x41 \u0022 \777`,
	"@deprecated @ts-nocheck", "{@link alert}", "@ts-expect-error", "-*- coding: utf-7 -*-", "+ACIAIgAi-", "go:build ignore", "line /etc/passwd:1", "export panic",
	"{{.Title}} ${alert(1)} {0} %s", "<!-- --> ??/ ]]>", "#!/bin/sh", "Deprecated: no", "sourceMappingURL=x", "noqa type: ignore", "vim: set ft=sh:",
	"a\u2028alert(1)\u2029b\u0085c\vd\fe\rf\ng\x00h\u202ei\ufeffj",
}

// withTexts returns the export of a golden catalog with other texts, and codes that have some more.
func withTexts(t *testing.T, catalog string, text func(i int) string) *reference.Reference {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(golden, catalog, "errors.json"))
	require.NoError(t, err)
	var export struct {
		Version int              `json:"version"`
		Title   string           `json:"title"`
		Codes   []map[string]any `json:"codes"`
	}
	require.NoError(t, json.Unmarshal(content, &export))
	export.Title = text(0)
	for i, code := range export.Codes {
		code["message"], code["description"], code["resolution"] = text(i), text(i), text(i+1)
		if i%3 == 0 {
			code["description"] = "" // the message stands in
		}
	}
	content, err = json.Marshal(export)
	require.NoError(t, err)
	r, err := reference.Parse(content, &reference.Options{GoPackage: "payments"})
	require.NoError(t, err)
	return r
}

func TestTextsChangeOnlyComments(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	variants := []*reference.Reference{withTexts(t, "hostile", func(int) string { return "plain" })}
	for shift := range texts {
		variants = append(variants, withTexts(t, "hostile", func(i int) string { return texts[(i+shift)%len(texts)] }))
	}
	paths := map[reference.Format][]string{}
	for _, format := range []reference.Format{reference.FormatTypeScript, reference.FormatPython, reference.FormatGo} {
		paths[format] = append(paths[format], absolute(t, filepath.Join(golden, "hostile", format.FileName())))
		for i, r := range variants {
			content, err := r.Render(format)
			require.NoError(t, err)
			file := filepath.Join(folder, string(rune('a'+i)), format.FileName())
			put(t, file, content)
			paths[format] = append(paths[format], file)
		}
	}

	for format, strip := range map[reference.Format]func(t *testing.T, files []string) []string{
		reference.FormatTypeScript: func(t *testing.T, files []string) (stripped []string) {
			args := append([]string{absolute(t, "testdata/strip.mjs"), absolute(t, "node_modules/typescript/lib/typescript.js")}, files...)
			require.NoError(t, json.Unmarshal(run(t, folder, "node", args...), &stripped))
			return stripped
		},
		reference.FormatPython: func(t *testing.T, files []string) (stripped []string) {
			args := append([]string{"-W", "error", absolute(t, "testdata/strip.py")}, files...)
			require.NoError(t, json.Unmarshal(run(t, folder, "python3", args...), &stripped))
			return stripped
		},
		reference.FormatGo: func(t *testing.T, files []string) (stripped []string) {
			for _, file := range files {
				set := token.NewFileSet()
				tree, err := parser.ParseFile(set, file, nil, 0)
				require.NoError(t, err)
				var b bytes.Buffer
				require.NoError(t, format.Node(&b, token.NewFileSet(), tree))
				stripped = append(stripped, b.String())
			}
			return stripped
		},
	} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			stripped := strip(t, paths[format])
			require.Len(t, stripped, len(texts)+2)
			for i, code := range stripped {
				require.NotEmpty(t, code)
				require.Equal(t, stripped[0], code, paths[format][i])
			}
		})
	}
}

func TestImportHasNoEffect(t *testing.T) {
	t.Parallel()
	folder, names := write(t)
	compileTypeScript(t, folder)
	const program = `
globalThis.alert = () => { throw new Error("alert was called"); };
const before = Object.getOwnPropertyNames(globalThis).join();
let first;
for (const name of process.argv.slice(1)) {
  const names = Object.keys(await import(process.cwd() + "/" + name + "/errors.js")).join();
  if (names !== (first ??= names)) throw new Error(name + ": " + names);
}
if (before !== Object.getOwnPropertyNames(globalThis).join()) throw new Error("a global was made");
console.log(first);
`
	require.Equal(t,
		"APIError,AuthenticationError,IdempotencyError,InvalidRequestError,PermissionDeniedError,RateLimitError,ResponseError,isKnownError,parseError,throwIfError\n",
		string(run(t, folder, "node", append([]string{"--input-type=module", "-e", program}, names...)...)))
}
