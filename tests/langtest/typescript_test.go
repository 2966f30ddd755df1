package langtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTypeScriptCompilesInEachEnvironment(t *testing.T) {
	t.Parallel()
	folder, _ := write(t)
	put(t, filepath.Join(folder, "package.json"), []byte(`{"type":"module"}`))
	for _, file := range []string{"uses.ts", "node.ts"} {
		content, err := os.ReadFile("testdata/" + file)
		require.NoError(t, err)
		put(t, filepath.Join(folder, "builtin", file), content)
	}
	for name, row := range map[string]struct {
		options map[string]any
		include []string
	}{
		"browser":         {map[string]any{"lib": []string{"es2022", "dom"}, "types": []string{}}, []string{"*/errors.ts", "builtin/uses.ts"}},
		"Node.js":         {map[string]any{"lib": []string{"es2022"}, "types": []string{"node"}}, []string{"*/errors.ts", "builtin/uses.ts", "builtin/node.ts"}},
		"neither of them": {map[string]any{"lib": []string{"es2022"}, "types": []string{}, "module": "es2022", "moduleResolution": "bundler"}, []string{"*/errors.ts"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.options["noEmit"] = true
			tsc(t, folder, row.options, row.include...)
		})
	}
}
