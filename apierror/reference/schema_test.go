package reference_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror/reference"
)

func TestDocumentsAreJSONWhoseReferencesResolve(t *testing.T) {
	t.Parallel()
	empty, err := reference.Parse([]byte(`{"version": 1, "codes": []}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	references := map[string]*reference.Reference{"empty": empty}
	for name, catalog := range catalogs {
		references[name] = reference.New(catalog, nil)
	}
	for name, docs := range references {
		for _, format := range []reference.Format{reference.FormatJSONSchema, reference.FormatOpenAPI} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				t.Parallel()
				text, err := docs.Render(format)
				if err != nil {
					t.Fatal(err)
				}
				var document any
				if err := json.Unmarshal(text, &document); err != nil {
					t.Fatal(err)
				}
				targets := refs(document)
				if len(targets) < 2 {
					t.Errorf("only %q", targets)
				}
				for _, target := range targets {
					if !resolves(document, target) {
						t.Errorf("%q leads nowhere", target)
					}
				}
			})
		}
	}
}

// refs returns the targets of all references in a document.
func refs(value any) (targets []string) {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			if target, ok := child.(string); ok && name == "$ref" {
				targets = append(targets, target)
			}
			targets = append(targets, refs(child)...)
		}
	case []any:
		for _, child := range v {
			targets = append(targets, refs(child)...)
		}
	}
	return targets
}

func resolves(document any, target string) bool {
	path, ok := strings.CutPrefix(target, "#/")
	for name := range strings.SplitSeq(path, "/") {
		parent, _ := document.(map[string]any)
		if document = parent[name]; document == nil {
			return false
		}
	}
	return ok
}
