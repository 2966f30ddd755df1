package plain

import "strings"

// RedactURLs replaces the userinfo, query and fragment of every URL in a text with an
// ellipsis. The errors of net/http's client contain whole URLs. A URL ends at white space,
// a quote, an angle bracket or a backquote.
func RedactURLs(text string) string {
	const end = " \t\r\n\"'<>`" // of a URL
	if !strings.Contains(text, "://") {
		return text
	}
	var b strings.Builder
	inURL := false
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case strings.HasPrefix(text[i:], "://"):
			authority := text[i+len("://"):]
			if j := strings.IndexAny(authority, "/?#\\"+end); j >= 0 {
				authority = authority[:j]
			}
			i += len("://") + len(authority)
			b.WriteString("://")
			if at := strings.LastIndexByte(authority, '@'); at >= 0 {
				b.WriteString("…")
				authority = authority[at:]
			}
			b.WriteString(authority)
			inURL = true
			continue
		case inURL && (c == '?' || c == '#'):
			b.WriteByte(c)
			b.WriteString("…")
			rest := strings.IndexAny(text[i:], end)
			if rest < 0 {
				return b.String()
			}
			i += rest
			continue
		case strings.IndexByte(end, c) >= 0:
			inURL = false
		}
		b.WriteByte(c)
		i++
	}
	return b.String()
}
