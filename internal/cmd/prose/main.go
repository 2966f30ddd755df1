// Prose checks the text of the repository: the comments and messages of its Go files, and its
// Markdown files. It reports comment lines that are too wide and wordings that words.go lists.
//
//	prose [folder]
//
// It exits with status 1 if it has found something.
package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// widest is the width of prose in columns. A tab is four.
const widest = 100

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	found, err := check(os.DirFS(root))
	if err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(2)
	}
	report(os.Stdout, found)
	if len(found) > 0 {
		os.Exit(1)
	}
}

// A finding is a line to change, with the reason.
type finding struct {
	file string
	line int
	what string
}

func report(w io.Writer, found []finding) {
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	for _, f := range found {
		fmt.Fprintf(w, "%s:%d: %s\n", f.file, f.line, f.what)
	}
}

// check returns what it finds in the Go and Markdown files of a tree.
func check(tree fs.FS) ([]finding, error) {
	var found []finding
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || path == "internal/cmd/prose" {
				return fs.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".md":
		default:
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		var blocks []block
		if filepath.Ext(path) == ".go" {
			blocks, err = goProse(path, text)
		} else {
			blocks = markdownProse(string(text))
		}
		for _, b := range blocks {
			for _, f := range b.findings() {
				f.file = path
				found = append(found, f)
			}
		}
		return err
	})
	return found, err
}

// A block is a piece of prose, such as a comment.
type block struct {
	first  int // the number of its first line in the file
	lines  []string
	narrow bool // reports whether its lines must not be wider than widest
}

var (
	marker      = regexp.MustCompile(`(?m)^\s*//`)
	unbreakable = regexp.MustCompile(`^\s*(//)?\s*([-*]|\d+\.)?\s*\S+$|^\[!\[|^//go:generate `) // one word, such as a URL, or a badge, or a command
)

func (b block) findings() []finding {
	var found []finding
	for i, line := range b.lines {
		columns := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
		if b.narrow && columns > widest && !unbreakable.MatchString(line) {
			found = append(found, finding{line: b.first + i, what: fmt.Sprintf("%d columns, at most %d", columns, widest)})
		}
	}
	text := marker.ReplaceAllString(strings.Join(b.lines, "\n"), "")
	for _, r := range rules {
		for _, at := range r.not.FindAllStringIndex(text, -1) {
			words := strings.Join(strings.Fields(text[at[0]:at[1]]), " ")
			found = append(found, finding{
				line: b.first + strings.Count(text[:at[0]], "\n"),
				what: fmt.Sprintf("%q: write %q (%s)", words, r.but, r.why),
			})
		}
	}
	return found
}

// goProse returns the comments of a Go file and, unless it is a test, its strings: most are
// messages. Nobody writes what is in a generated file.
func goProse(path string, source []byte) ([]block, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	lines := strings.Split(string(source), "\n")
	var blocks []block
	for _, group := range file.Comments {
		b := block{first: files.Position(group.Pos()).Line}
		last := files.Position(group.End()).Line
		whole := strings.HasPrefix(strings.TrimSpace(lines[b.first-1]), "//")
		if whole {
			b.lines, b.narrow = lines[b.first-1:last], true
		} else { // after code on the same line, which gofmt aligns
			b.lines = []string{group.Text()}
		}
		output := slices.IndexFunc(b.lines, isOutput)
		if output >= 0 {
			b.lines = b.lines[:output]
		}
		blocks = append(blocks, b)
	}
	if strings.HasSuffix(path, "_test.go") {
		return blocks, nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
			if text, err := strconv.Unquote(s.Value); err == nil {
				blocks = append(blocks, block{first: files.Position(s.Pos()).Line, lines: []string{text}})
			}
		}
		return true
	})
	return blocks, nil
}

// isOutput reports whether an example's output begins on a line: it is what the program prints.
func isOutput(line string) bool {
	line = strings.ToLower(strings.TrimSpace(line))
	return strings.HasPrefix(line, "// output:") || strings.HasPrefix(line, "// unordered output:")
}

// markdownProse returns the paragraphs of a Markdown text, without code. Rows of tables may have any
// width.
func markdownProse(text string) []block {
	blocks := []block{{first: 1, narrow: true}}
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		fence := strings.HasPrefix(trimmed, "```")
		next := block{first: i + 2, narrow: true}
		switch {
		case fence || fenced || strings.HasPrefix(line, "    ") || trimmed == "":
			blocks = append(blocks, next)
		case strings.HasPrefix(trimmed, "|"):
			blocks = append(blocks, block{first: i + 1, lines: []string{line}}, next)
		default:
			last := &blocks[len(blocks)-1]
			last.lines = append(last.lines, line)
		}
		if fence {
			fenced = !fenced
		}
	}
	return blocks
}
