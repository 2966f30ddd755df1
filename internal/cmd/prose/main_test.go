package main

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
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
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			report(&b, found)
			got := slices.Collect(strings.Lines(b.String()))
			if len(got) != len(test.want) {
				t.Fatalf("found %q, want %q", got, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("found %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestCheckReportsAFileThatDoesNotParse(t *testing.T) {
	t.Parallel()
	if _, err := check(fstest.MapFS{"a.go": {Data: []byte("package")}}); err == nil {
		t.Error("no error")
	}
}

// A rule that matches what it suggests could never be satisfied.
func TestSuggestedWordingsAreAllowed(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		if found := (block{lines: []string{r.but}}).findings(); len(found) > 0 {
			t.Errorf("%v: its suggestion %q is not allowed", r.not, r.but)
		}
		if r.why == "" {
			t.Errorf("%v has no reason", r.not)
		}
	}
}
