package plain

import "strings"

// endOfURL are the characters before which a URL in a text ends.
const endOfURL = " \t\r\n\"'<>`"

// RedactURLs replaces the userinfo, query and fragment of every URL in a text with an ellipsis.
// The errors of net/http's client contain whole URLs. A URL ends at white space, a quote, an
// angle bracket or a backquote.
func RedactURLs(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	var b strings.Builder
	for {
		before, url, found := strings.Cut(text, "://")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("://")
		authority, rest := cutBefore(url, "/?#\\"+endOfURL)
		if at := strings.LastIndexByte(authority, '@'); at >= 0 {
			b.WriteString("…")
			authority = authority[at:]
		}
		b.WriteString(authority)
		path, _, _ := strings.Cut(rest, "://") // no further than the next URL, or this would be quadratic
		i := strings.IndexAny(path, "?#"+endOfURL)
		if i < 0 || strings.IndexByte(endOfURL, path[i]) >= 0 {
			text = rest // no query or fragment
			continue
		}
		b.WriteString(path[:i+1] + "…")
		_, text = cutBefore(rest[i:], endOfURL)
	}
}

// cutBefore cuts s before the first of the characters.
func cutBefore(s, chars string) (before, after string) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
