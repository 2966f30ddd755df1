package clienttest

import (
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

func TestJavaScriptClientHasErrorsOfCatalog(t *testing.T) {
	t.Parallel()
	requireGenerated(t, reference.FormatTypeScript, "js", "src/errors.ts")
}

// The client is compiled with the compiler of this module.
func TestJavaScriptClientHasSameCompiler(t *testing.T) {
	t.Parallel()
	var client, tests struct{ DevDependencies map[string]string }
	for file, manifest := range map[string]any{"../../clients/js/package.json": &client, "package.json": &tests} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(content, manifest))
	}
	require.Equal(t, map[string]string{"typescript": tests.DevDependencies["typescript"]}, client.DevDependencies)
}

func TestJavaScriptClientPassesItsOwnTests(t *testing.T) {
	t.Parallel()
	source := sourceOfJavaScript(t)
	execute(t, source, "npm", "test", "--offline")
}

// sourceOfJavaScript returns a copy of clients/js that uses the npm packages of this module.
func sourceOfJavaScript(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, name := range []string{"package.json", "tsconfig.json", "README.md"} {
		content, err := os.ReadFile(filepath.Join("../../clients/js", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), content, 0o666))
	}
	for _, name := range []string{"src", "tests"} {
		require.NoError(t, os.CopyFS(filepath.Join(folder, name), os.DirFS(filepath.Join("../../clients/js", name))))
	}
	modules, err := filepath.Abs("node_modules")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(modules, filepath.Join(folder, "node_modules")))
	return folder
}

// TestJavaScriptPackage does what a user does: it installs the package that npm makes of clients/js
// in a new folder, and runs programs there.
func TestJavaScriptPackage(t *testing.T) {
	t.Parallel()
	source, app := sourceOfJavaScript(t), t.TempDir()
	packed, _ := execute(t, source, "npm", "pack", "--offline", "--json")
	var tarballs []struct {
		Filename string
		Files    []struct{ Path string }
	}
	require.NoError(t, json.Unmarshal([]byte(packed), &tarballs), packed)
	var files []string
	for _, file := range tarballs[0].Files {
		files = append(files, file.Path)
	}
	require.ElementsMatch(t, []string{
		"package.json", "README.md", "dist/client.js", "dist/client.d.ts",
		"dist/errors.js", "dist/errors.d.ts", "dist/transport.js", "dist/transport.d.ts",
	}, files)
	require.NoError(t, os.WriteFile(filepath.Join(app, "package.json"), []byte(`{"type":"module"}`), 0o666))
	execute(t, app, "npm", "install", "--offline", "--no-audit", "--no-fund", "--cache", filepath.Join(source, "cache"),
		filepath.Join(source, tarballs[0].Filename))
	require.NoError(t, os.CopyFS(app, os.DirFS("testdata")))

	t.Run("SnippetOfSpecificationRuns", func(t *testing.T) { testSnippet(t, app) })
	t.Run("ReadmeRuns", func(t *testing.T) { testReadme(t, app) })
	t.Run("TypesFitStrictPrograms", func(t *testing.T) { testTypes(t, app) })
	t.Run("MethodsDoWhatTheyShould", func(t *testing.T) { testTour(t, app) })
	t.Run("UntrustedCertificateIsNotRetried", func(t *testing.T) { testCertificate(t, app) })
	t.Run("WorksInBrowser", func(t *testing.T) { testBrowser(t, app) })
	testClient(t, node(app))
}

// The snippet is that of the specification, word for word. The client is what it leaves open.
func testSnippet(t *testing.T, app string) {
	t.Parallel()
	snippet, err := os.ReadFile("testdata/snippet.js")
	require.NoError(t, err)
	server := docsapitest.Start(t)
	program := `import { Client } from "docsapi";
const client = new Client({ apiKey: "sk_test_demo", baseURL: process.argv[2], logger: null });
` + string(snippet)
	require.NoError(t, os.WriteFile(filepath.Join(app, "main.js"), []byte(program), 0o666))

	stdout, stderr := execute(t, app, "node", "main.js", server.URL)

	require.Empty(t, stdout)
	require.Equal(t, "Missing: name\n", stderr)
}

var javaScriptBlock = regexp.MustCompile("(?ms)^```js\n(.*?)^```$")

// The blocks of the README are one program.
func testReadme(t *testing.T, app string) {
	t.Parallel()
	readme, err := os.ReadFile("../../clients/js/README.md")
	require.NoError(t, err)
	server := docsapitest.Start(t)
	var program strings.Builder
	for _, block := range javaScriptBlock.FindAllStringSubmatch(string(readme), -1) {
		program.WriteString(block[1])
	}
	text := strings.ReplaceAll(program.String(), "http://localhost:8080", server.URL)
	require.NotEqual(t, text, program.String())
	require.NoError(t, os.WriteFile(filepath.Join(app, "readme.js"), []byte(text), 0o666))

	stdout, stderr := execute(t, app, "node", "readme.js")

	require.Regexp(t, `^res_\w+ renamed\n$`, stdout)
	require.Regexp(t, `(?s)^docsapi: request failed \{.*\nMissing: name\n$`, stderr)
}

func testTypes(t *testing.T, app string) {
	t.Parallel()
	types, err := filepath.Abs("node_modules/@types")
	require.NoError(t, err)
	for name, environment := range map[string]map[string]any{
		"nodejs":  {"lib": []string{"es2022"}, "types": []string{"node"}, "typeRoots": []string{types}, "module": "nodenext"},
		"browser": {"lib": []string{"es2022", "dom"}, "types": []string{}, "module": "esnext", "moduleResolution": "bundler"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := map[string]any{
				"strict": true, "noUncheckedIndexedAccess": true, "exactOptionalPropertyTypes": true,
				"noPropertyAccessFromIndexSignature": true, "noUnusedLocals": true, "verbatimModuleSyntax": true,
				"target": "es2022", "noEmit": true, "skipDefaultLibCheck": true,
			}
			maps.Copy(options, environment)
			config, err := json.Marshal(map[string]any{"compilerOptions": options, "files": []string{"uses.ts"}})
			require.NoError(t, err)
			file := filepath.Join(app, "tsconfig-"+name+".json")
			require.NoError(t, os.WriteFile(file, config, 0o666))
			path, err := filepath.Abs(compiler)
			require.NoError(t, err)
			execute(t, app, "node", path, "-p", file)
		})
	}
}

func testTour(t *testing.T, app string) {
	t.Parallel()
	server := docsapitest.Start(t)
	stdout, stderr := execute(t, app, "node", "tour.mjs", server.URL)
	require.Empty(t, stderr)
	require.Equal(t, `{ name: 'first', metadata: { color: 'blue' } }
first
renamed
d again
true idempotency_conflict
[ 'renamed', 'b', 'c' ] string
[ 'd' ] undefined
undefined
[ 'b', 'c', 'd' ]
true 403
true 401
`, stdout)
}

func testCertificate(t *testing.T, app string) {
	t.Parallel()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	const program = `import { Client } from "docsapi";
const client = new Client({ apiKey: "k", baseURL: process.argv[1], logger: null });
const err = await client.resources.get("res_1").catch((reason) => reason);
console.log(err.name, err.retryable, err.cause.cause.code);`
	stdout, stderr := execute(t, app, "node", "--input-type=module", "-e", program, server.URL)
	require.Empty(t, stderr)
	require.Regexp(t, `^NetworkError false [A-Z_]+\n$`, stdout)
	require.EqualValues(t, 1, connections.Load())
}

// node returns the runner of a folder that has programs for Node.js.
func node(folder string) runner {
	return func(t *testing.T, program string, args ...string) string {
		t.Helper()
		stdout, stderr := execute(t, folder, "node", append([]string{program + ".mjs"}, args...)...)
		require.Empty(t, stderr)
		return stdout
	}
}
