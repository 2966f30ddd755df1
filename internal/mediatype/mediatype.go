// Package mediatype recognizes the media types of JSON.
package mediatype

import "strings"

// IsJSON reports whether a media type, as mime.ParseMediaType returns it, is application/json or
// has the suffix +json (RFC 6839, section 3.1).
func IsJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}
