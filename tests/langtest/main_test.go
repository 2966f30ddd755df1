package langtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

const (
	golden   = "../../apierror/reference/testdata/golden"
	snippets = "../../apierror/reference/snippets"
	compiler = "node_modules/typescript/bin/tsc"
)

func TestMain(m *testing.M) {
	for _, command := range []string{"node", "python3"} {
		if _, err := exec.LookPath(command); err != nil {
			fail(command + " is missing")
		}
	}
	for _, file := range []string{compiler, "node_modules/@types/node/package.json"} {
		if _, err := os.Stat(file); err != nil {
			fail("tests/langtest/" + file + " is missing")
		}
	}
	leakcheck.Main(m)
}

func fail(what string) {
	fmt.Fprintf(os.Stderr, "langtest: %s: run make deps\n", what)
	os.Exit(1)
}

// files are the file names of the typed errors.
var files = []string{"errors.ts", "errors.py", "errors.go"}

// write writes the typed errors of all golden catalogs, and of some that are only tested here,
// into subfolders of a new folder. It returns that folder and their names.
func write(t *testing.T) (folder string, names []string) {
	t.Helper()
	folder = t.TempDir()
	for _, name := range []string{"builtin", "core", "custom", "hostile"} {
		names = append(names, name)
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join(golden, name, file))
			require.NoError(t, err)
			put(t, filepath.Join(folder, name, file), content)
		}
	}
	for name, r := range map[string]*reference.Reference{
		"alike":  withCodes(t, "api_x", "a_p_i_x", "apix", "a_b", "ab", "a_b_", "a1", "a_1", "a__1", "x", "code", "response", "url_id", "string", "len", "nil", "error"),
		"single": withCodes(t, "only"),
		"empty":  withCodes(t),
	} {
		names = append(names, name)
		for i, format := range []reference.Format{reference.FormatTypeScript, reference.FormatPython, reference.FormatGo} {
			content, err := r.Render(format)
			require.NoError(t, err)
			put(t, filepath.Join(folder, name, files[i]), content)
		}
	}
	return folder, names
}

// withCodes returns the reference of a catalog that has only these codes.
func withCodes(t *testing.T, codes ...string) *reference.Reference {
	t.Helper()
	definitions := []map[string]any{}
	for _, code := range codes {
		definitions = append(definitions, map[string]any{"code": code, "type": apierror.TypeAPI, "status": 500, "message": "m", "retryable": true})
	}
	export, err := json.Marshal(map[string]any{"version": 1, "codes": definitions})
	require.NoError(t, err)
	r, err := reference.Parse(export, nil)
	require.NoError(t, err)
	return r
}

func put(t *testing.T, file string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o777))
	require.NoError(t, os.WriteFile(file, content, 0o666))
}

// absolute returns the path of a file of this module.
func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	require.NoError(t, err)
	return path
}

// run runs a command in a folder, and returns what it writes to its standard output.
func run(t *testing.T, folder, name string, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &stdout, &stderr
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "PYTHONDONTWRITEBYTECODE=1", "NO_COLOR=1")
	err := cmd.Run()
	require.NoError(t, err, "%s %q\n%s%s", name, args, stdout.String(), stderr.String())
	require.Empty(t, stderr.String())
	return stdout.Bytes()
}

// compileTypeScript compiles all errors.ts below a folder into JavaScript. It does not check their
// types: TestTypeScriptCompilesInEachEnvironment does.
func compileTypeScript(t *testing.T, folder string) {
	t.Helper()
	put(t, filepath.Join(folder, "package.json"), []byte(`{"type":"module"}`))
	tsc(t, folder, map[string]any{"noCheck": true, "declaration": false, "isolatedDeclarations": false, "lib": []string{"es2022"}, "types": []string{}}, "*/errors.ts")
}

// tsc runs the compiler with strict options and more.
func tsc(t *testing.T, folder string, more map[string]any, include ...string) {
	t.Helper()
	options := map[string]any{
		"strict": true, "noUncheckedIndexedAccess": true, "exactOptionalPropertyTypes": true, "verbatimModuleSyntax": true,
		"erasableSyntaxOnly": true, "noPropertyAccessFromIndexSignature": true, "noUnusedLocals": true, "noUnusedParameters": true,
		"noImplicitOverride": true, "noImplicitReturns": true, "noFallthroughCasesInSwitch": true, "isolatedDeclarations": true, "declaration": true, "skipLibCheck": true,
		"target": "es2022", "module": "nodenext", "moduleResolution": "nodenext", "typeRoots": []string{absolute(t, "node_modules/@types")},
	}
	maps.Copy(options, more)
	config, err := json.Marshal(map[string]any{"compilerOptions": options, "include": include})
	require.NoError(t, err)
	file, err := os.CreateTemp(folder, "tsconfig-*.json")
	require.NoError(t, err)
	_, err = file.Write(config)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	run(t, folder, "node", absolute(t, compiler), "-p", file.Name())
}
