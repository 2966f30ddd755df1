package reference

import "strings"

// markdownText returns Markdown that shows text as it is, on one line: in a paragraph, a heading, a
// list or a table, in CommonMark, in GitHub's dialect and in MDX. GitHub makes links of email
// addresses, @names and #numbers after it has removed the backslashes, so these may still become
// links.
func markdownText(text string) string {
	text = line(text)
	var b strings.Builder
	for i := range len(text) { // all special characters are ASCII
		if isSpecial(text, i) {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// isSpecial reports whether Markdown may read the character at i as more than itself.
func isSpecial(text string, i int) bool {
	before, after := text[:i], text[i+1:]
	switch text[i] {
	case '\\', '`', '*', '[', ']', '<', '|', '~', '&', '#', '@', '$', '{':
		return true
	case '_': // not in the middle of a word
		return before == "" || after == "" || !isAlphanumeric(before[i-1]) || !isAlphanumeric(after[0])
	case '-', '+', '=', '>': // a list, a heading or a quotation
		return before == ""
	case ')': // a numbered list
		return isNumber(before)
	case '.': // the same, or a link
		return isNumber(before) || strings.HasSuffix(strings.ToLower(before), "www")
	case ':': // a link
		return strings.HasPrefix(after, "//")
	default:
		return false
	}
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
