package clienttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
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
	t.Run("EachCodeBecomesItsError", func(t *testing.T) { testCodes(t, app) })
	t.Run("LostResponseDoesNotDuplicateWrite", func(t *testing.T) { testLostResponse(t, app) })
	t.Run("KilledServerDoesNotDuplicateWrite", func(t *testing.T) { testKilledServer(t, app) })
	t.Run("StormEndsInSuccessesAndDenials", func(t *testing.T) { testStorm(t, app) })
	t.Run("UntrustedCertificateIsNotRetried", func(t *testing.T) { testCertificate(t, app) })
	t.Run("WorksInBrowser", func(t *testing.T) { testBrowser(t, app) })
	t.Run("DeniedRequestWaitsAsLongAsItMust", func(t *testing.T) { testDenial(t, app) })
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

// outcome is how a client sees an error.
type outcome struct {
	Class     string `json:"class"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Param     string `json:"param"`
	Type      string `json:"type"`
	RequestID string `json:"requestId"`
	DocURL    string `json:"docUrl"`
	Retryable bool   `json:"retryable"`
}

// faults returns the codes that the service can answer with.
func faults() (codes []string) {
	for _, d := range apierror.DefaultCatalog().Definitions() {
		codes = append(codes, string(d.Code))
	}
	return codes
}

// see runs a program that prints how a client sees each kind of fault.
func see(t *testing.T, folder, program, url string, kinds ...string) map[string]outcome {
	t.Helper()
	stdout, stderr := execute(t, folder, "node", append([]string{program, url}, kinds...)...)
	require.Empty(t, stderr)
	var outcomes map[string]outcome
	require.NoError(t, json.Unmarshal([]byte(stdout), &outcomes), stdout)
	require.Len(t, outcomes, len(kinds))
	for _, kind := range kinds {
		require.Regexp(t, "^req_", outcomes[kind].RequestID, kind)
	}
	return outcomes
}

func testCodes(t *testing.T, app string) {
	t.Parallel()
	server := docsapitest.Start(t, "-faults")
	proxy := between(t, server.URL, soon)
	classes := map[apierror.Type]string{
		apierror.TypeInvalidRequest: "InvalidRequestError",
		apierror.TypeAuthentication: "AuthenticationError",
		apierror.TypePermission:     "PermissionDeniedError",
		apierror.TypeIdempotency:    "IdempotencyError",
		apierror.TypeRateLimit:      "RateLimitError",
		apierror.TypeAPI:            "APIError",
	}
	outcomes := see(t, app, "faults.mjs", proxy.URL, append(faults(), "panic", "error")...)
	for _, kind := range []string{"panic", "error"} {
		require.Equal(t, "api_error", outcomes[kind].Code)
		require.Len(t, proxy.requests("/fault_"+kind), 3)
	}
	for _, d := range apierror.DefaultCatalog().Definitions() {
		got := outcomes[string(d.Code)]
		want := outcome{
			Class: classes[d.Type], Status: d.Status, Code: string(d.Code), Type: string(d.Type), Retryable: d.Retryable(),
			RequestID: got.RequestID, DocURL: server.URL + "/docs/errors#" + string(d.Code),
		}
		require.Equal(t, want, got)
		attempts := 1
		if d.Retryable() {
			attempts = 3
		}
		require.Len(t, proxy.requests("/fault_"+string(d.Code)), attempts, d.Code)
	}
}

// creation is what came of the creation of resources.
type creation struct {
	Created, Listed map[string]string // the ids of resources, by name
	Denied          map[string]string // the codes of errors, by name
	Failures        []string          // of attempts
}

// create runs the program that creates resources. It checks that each exists once, if at all.
func create(t *testing.T, app, url string, names ...string) (c creation) {
	t.Helper()
	stdout, stderr := execute(t, app, "node", append([]string{"create.mjs", url}, names...)...)
	require.Empty(t, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &c), stdout)
	require.Equal(t, c.Created, c.Listed)
	require.Len(t, names, len(c.Created)+len(c.Denied))
	return c
}

func testLostResponse(t *testing.T, app string) {
	t.Parallel()
	server := docsapitest.Start(t)
	proxy := between(t, server.URL, func(n int, _ *http.Response) error {
		if n <= 2 {
			return errLost
		}
		return nil
	})
	c := create(t, app, proxy.URL, "first")
	require.Len(t, c.Created, 1)
	require.Equal(t, []string{"no response", "no response"}, c.Failures)
	requireOneKey(t, proxy, 3)
}

// Clients that send much more than they may get their share. The rest learns that it was denied.
func testStorm(t *testing.T, app string) {
	t.Parallel()
	server := docsapitest.Start(t, "-rate", "5")
	proxy := between(t, server.URL, nil)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint("name", i))
	}
	c := create(t, app, proxy.URL, names...)
	require.GreaterOrEqual(t, len(c.Created), 5)
	for _, code := range slices.Concat(slices.Collect(maps.Values(c.Denied)), c.Failures) {
		require.Equal(t, "rate_limit_exceeded", code)
	}
	attempts := map[string]int{} // by key
	writes := 0
	for _, request := range proxy.requests("/v1/resources") {
		if request.method == http.MethodPost {
			attempts[request.key]++
			writes++
		}
	}
	require.Len(t, attempts, len(names))
	require.Equal(t, len(c.Created)+len(c.Failures), writes)
	require.LessOrEqual(t, slices.Max(slices.Collect(maps.Values(attempts))), 3)
}

// requireOneKey checks how many writes came, all with the same key.
func requireOneKey(t *testing.T, p *proxy, writes int) {
	t.Helper()
	var keys []string
	for _, request := range p.requests("/v1/resources") {
		if request.method == http.MethodPost {
			keys = append(keys, request.key)
		}
	}
	require.Len(t, keys, writes)
	require.NotEmpty(t, keys[0])
	for _, key := range keys {
		require.Equal(t, keys[0], key)
	}
}

// The first response is lost because the process is killed after it has committed. The retry is
// answered by the next process.
func testKilledServer(t *testing.T, app string) {
	t.Parallel()
	server := docsapitest.Start(t)
	proxy := between(t, server.URL, func(n int, _ *http.Response) error {
		if n > 1 {
			return nil
		}
		server.Kill()
		server.Restart()
		return errLost
	})
	c := create(t, app, proxy.URL, "first")
	require.Len(t, c.Created, 1)
	require.Equal(t, []string{"no response"}, c.Failures)
	requireOneKey(t, proxy, 2)
}

func testDenial(t *testing.T, app string) {
	t.Parallel()
	server := docsapitest.Start(t, "-faults")
	proxy := between(t, server.URL, nil)
	see(t, app, "faults.mjs", proxy.URL, "rate_limit_exceeded")
	attempts := proxy.requests("/fault_rate_limit_exceeded")
	require.Len(t, attempts, 3)
	requireWaits(t, attempts)
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

// requireWaits checks that each attempt waited for the second that the service had asked for.
func requireWaits(t *testing.T, attempts []arrival) {
	t.Helper()
	for i := range attempts[1:] {
		require.GreaterOrEqual(t, attempts[i+1].at.Sub(attempts[i].at), time.Second)
	}
}

// execute runs a command in a folder, and returns what it writes.
func execute(t *testing.T, folder, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &out, &errs
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "npm_config_update_notifier=false")
	require.NoError(t, cmd.Run(), "%s %q\n%s%s", name, args, &out, &errs)
	return out.String(), errs.String()
}
