package pagetest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// axeRun runs axe-core, and returns what it has found and the names of the rules that passed.
const axeRun = `axe.run(document, { resultTypes: ["violations", "passes"] }).then(({ violations, passes }) => ({
	violations: violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html + ": " + n.failureSummary)),
	passes: passes.map((p) => p.id),
}))`

func TestPageIsAccessible(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	require.NoError(t, err, "axe-core is missing: run make deps")
	for _, catalog := range []string{"builtin", "custom", "hostile", "empty"} {
		searches := []string{""}
		if catalog == "builtin" {
			searches = []string{"", "/api", " nothing has this"}
		}
		for _, v := range []view{{}, {dark: true}, {width: 390}, {width: 390, dark: true}} {
			t.Run(fmt.Sprintf("%s/%+v", catalog, v), func(t *testing.T) {
				t.Parallel()
				b := open(t, catalog, v)
				eval[any](b, string(axe))
				for _, search := range searches {
					b.press(search)
					result := eval[struct{ Violations, Passes []string }](b, axeRun)
					require.Empty(t, result.Violations, search)
					require.Subset(t, result.Passes, []string{"color-contrast", "region", "heading-order", "landmark-one-main", "label"})
				}
			})
		}
	}
}
