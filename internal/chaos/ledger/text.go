package ledger

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// thousands formats a count, as 12,345.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted returns a count with its noun, such as "1 key" and "12,345 keys".
func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + several
}

// inWords rounds a duration to what a reader needs, such as "1 h 2 min", "12 s" and "3.5 ms".
func inWords(d time.Duration) string {
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
		return trimZero(fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute), " 0 min")
	case d >= 2*time.Minute:
		d = d.Round(time.Second)
		return trimZero(fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second), " 0 s")
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return trimZero(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	default:
		return trimZero(fmt.Sprintf("%.1f", d.Seconds()*1000), ".0") + " ms"
	}
}

func trimZero(s, zero string) string { return strings.TrimSuffix(s, zero) }

// enumerate joins words as in "a, b and c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// columns is the width of a line in a document.
const columns = 100

// filled breaks the lines of the paragraphs and lists of a Markdown text anew. Numbers that a
// template puts in change the width of a line.
func filled(text string) string {
	blocks := strings.Split(text, "\n\n")
	code := false
	for i, block := range blocks {
		fences := strings.Count(block, "```")
		if !code && fences == 0 && !strings.HasPrefix(block, "|") && !strings.HasPrefix(block, "#") &&
			!strings.HasPrefix(block, "<") && !strings.HasPrefix(block, "!") {
			blocks[i] = fill(block)
		}
		code = code != (fences%2 == 1)
	}
	return strings.Join(blocks, "\n\n")
}

// fill breaks the lines of a paragraph or list.
func fill(block string) string {
	var out strings.Builder
	indent, column := "", 0
	for line := range strings.Lines(block) {
		if strings.HasPrefix(line, "- ") {
			if out.Len() > 0 {
				out.WriteByte('\n')
			}
			indent, column = "  ", 0
		}
		for word := range strings.FieldsSeq(line) {
			width := utf8.RuneCountInString(word)
			switch {
			case column == 0:
			case column+1+width <= columns:
				out.WriteByte(' ')
				column++
			default:
				out.WriteString("\n" + indent)
				column = len(indent)
			}
			out.WriteString(word)
			column += width
		}
	}
	if strings.HasSuffix(block, "\n") {
		out.WriteByte('\n')
	}
	return out.String()
}
