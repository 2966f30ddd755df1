package seawall_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	program = regexp.MustCompile("(?ms)^```go\n(package .*?)^```$")
	goCode  = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	linked  = regexp.MustCompile(`\]\(([\w./-]+)\)`)                     // [text](docs/X.md)
	quoted  = regexp.MustCompile("`([\\w./-]+\\.(?:go|md|sh|txt|yml))`") // `retry/decide.go`
	tested  = regexp.MustCompile("`(Test\\w+)`")                         // `TestStore`
	fencing = regexp.MustCompile("(?ms)^```.*?^```$")
)

// A document names a file of this repository by a link or by its path in backquotes. When a
// file moves, the documents must follow.
func TestDocumentsNameFilesThatExist(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	for _, document := range append(documents, more...) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		prose := fencing.ReplaceAllString(string(text), "")
		for _, match := range linked.FindAllStringSubmatch(prose, -1) {
			path := filepath.Join(filepath.Dir(document), match[1])
			require.True(t, exists(path), "%s links %s", document, match[1])
		}
		for _, match := range quoted.FindAllStringSubmatch(prose, -1) {
			require.True(t, exists(match[1]), "%s names %s", document, match[1])
		}
	}
}

// A guarantee names the test that shows it.
func TestSemanticsNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/SEMANTICS.md")
	require.NoError(t, err)
	names := tested.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, names)
	code := contents(t, "idempotent/*_test.go") + contents(t, "idempotent/*/*_test.go") + contents(t, "tests/sqltest/*_test.go")
	for _, name := range names {
		require.Contains(t, code, "func "+name[1]+"(", "docs/SEMANTICS.md names a test that is gone")
	}
}

// A program in the README works when it is pasted into a file.
func TestReadmeProgramsBuild(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	programs := program.FindAllSubmatch(text, -1)
	require.NotEmpty(t, programs)
	for _, match := range programs {
		build(t, map[string]string{"main.go": string(match[1])})
	}
}

// The code in these documents is code of examples and tests, which run. Fragments, with an
// ellipsis at the end of a line, are not checked.
func TestDocumentsQuoteTheExample(t *testing.T) {
	t.Parallel()
	distributed := contents(t, "examples/distributed/*.go")
	for document, code := range map[string]string{
		"docs/REDIS.md":    distributed,
		"docs/POSTGRES.md": distributed + contents(t, "tests/sqltest/*_test.go"),
		"docs/ERRORS.md": contents(t, "cmd/seawall-catalog/testdata/shop/*.go") +
			contents(t, "cmd/seawall-catalog/testdata/shop/errs/*.go"),
		"docs/RECIPES.md": contents(t, "example_*test.go") + contents(t, "tests/interop/*_test.go") +
			contents(t, "examples/frameworks/*.go") + contents(t, "examples/frameworks/*/*.go") +
			contents(t, "examples/frameworks/*/*/*.go"),
	} {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		quotes := goCode.FindAllSubmatch(text, -1)
		require.NotEmpty(t, quotes)
		for _, match := range quotes {
			if !strings.Contains(string(match[1]), "...\n") {
				require.Contains(t, code, string(match[1]), document)
			}
		}
	}
}

// contents returns what the files that match a pattern contain, one after another.
func contents(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		b.Write(text)
	}
	return b.String()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
