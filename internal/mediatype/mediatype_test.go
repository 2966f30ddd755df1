package mediatype_test

import (
	"net/http"
	"testing"

	"github.com/seawall-go/seawall/internal/mediatype"
)

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for mediaType, want := range map[string]bool{
		"application/json":         true,
		"application/problem+json": true,
		"application/json-seq":     false,
		"text/json":                false,
		"text/plain":               false,
		"":                         false,
	} {
		if got := mediatype.IsJSON(mediaType); got != want {
			t.Errorf("IsJSON(%q) = %t", mediaType, got)
		}
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]string{
		"application/json":                "application/json",
		"Application/JSON; charset=utf-8": "application/json",
		"application/":                    "",
		"":                                "",
	} {
		if got := mediatype.Of(http.Header{"Content-Type": {contentType}}); got != want {
			t.Errorf("Of(%q) = %q, want %q", contentType, got, want)
		}
	}
}
