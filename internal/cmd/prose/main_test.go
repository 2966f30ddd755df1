package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	wide := strings.Repeat("wide ", 30)
	url := "https://example.com/" + strings.Repeat("x", 120)
	tests := []struct {
		name string
		file string
		text string
		want []string
	}{
		{"plain", "a.go", "package a\n\n// A is plain.\nconst A = 1\n", nil},
		{"wide comment", "a.go", "package a\n\n// " + wide + "\nconst A = 1\n", []string{"a.go:3: 153 columns"}},
		{"wide behind tabs", "a.go", "package a\n\nfunc f() {\n\t\t\t// " + wide[:90] + "\n}\n", []string{"a.go:4: 105 columns"}},
		{"wide code", "a.go", "package a\n\nconst A = \"" + wide + "\"\n", nil},
		{"wide URL", "a.go", "package a\n\n// " + url + "\n", nil},
		{"wide behind code", "a.go", "package a\n\nconst A = 1 // " + wide + "\n", nil},
		{"word in a comment", "a.go", "package a\n\n// A.\n// A catalogue.\n", []string{`a.go:4: "catalogue": write "catalog"`}},
		{"word behind code", "a.go", "package a\n\nconst A = 1 // for ever\n", []string{`a.go:3: "for ever"`}},
		{"words at the end of a line", "a.go", "package a\n\n// A has a lock of its\n// own.\n", []string{`a.go:3: "of its own"`}},
		{"word in a message", "a.go", "package a\n\nconst A = \"time-out\"\n", []string{`a.go:3: "time-out"`}},
		{"word in a test's data", "a_test.go", "package a\n\nconst A = \"time-out\"\n", nil},
		{"part of a word", "a.go", "package a\n\n// A domain vainly.\n", nil},
		{"output of an example", "a_test.go", "package a\n\nfunc f() {\n\t// Output:\n\t// at once " + wide + "\n}\n", nil},
		{"Markdown", "a.md", "A\n\nIt is done\nat once.\n" + wide + "\n", []string{`a.md:4: "at once"`, "a.md:5: 150 columns"}},
		{"code in Markdown", "a.md", "A\n\n```go\n" + wide + "at once\n```\n\n    at once " + wide + "\n", nil},
		{"table in Markdown", "a.md", "A\n\n| " + wide + " |\n| at once |\n", []string{`a.md:4: "at once"`}},
		{"testdata", "testdata/a.md", "at once\n", nil},
		{"hidden folder", ".git/a.md", "at once\n", nil},
		{"other file", "a.txt", "at once\n", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			found, err := check(fstest.MapFS{test.file: {Data: []byte(test.text)}})
			require.NoError(t, err)
			var b strings.Builder
			report(&b, found)
			lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
			if test.want == nil {
				require.Empty(t, b.String())
				return
			}
			require.Len(t, lines, len(test.want))
			for i, want := range test.want {
				require.True(t, strings.HasPrefix(lines[i], want), "%s, not %s", lines[i], want)
			}
		})
	}
}

func TestCheckReportsAFileThatDoesNotParse(t *testing.T) {
	t.Parallel()
	_, err := check(fstest.MapFS{"a.go": {Data: []byte("package")}})
	require.Error(t, err)
}

// A rule that matches what it suggests could never be satisfied.
func TestSuggestionsPass(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		require.Empty(t, block{lines: []string{r.but}}.findings(), fmt.Sprint(r.not))
		require.NotEmpty(t, r.why)
	}
}
