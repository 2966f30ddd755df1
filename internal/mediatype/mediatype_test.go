package mediatype_test

import (
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
