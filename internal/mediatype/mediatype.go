// Package mediatype reads the media types of bodies, and recognizes those of JSON.
package mediatype

import (
	"mime"
	"net/http"
	"strings"
)

// Of returns the media type of a body with the header h, in lower case and without parameters. It
// is empty if there is none, or if the type is not valid.
func Of(h http.Header) string {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return mediaType
}

// IsJSON reports whether a media type, as [Of] returns it, is application/json or
// has the suffix +json (RFC 6839, section 3.1).
func IsJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}
