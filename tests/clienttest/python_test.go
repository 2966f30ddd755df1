package clienttest

import (
	"archive/zip"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

const pythonSource = "../../clients/python"

func TestPythonClientHasErrorsOfCatalog(t *testing.T) {
	t.Parallel()
	requireGenerated(t, reference.FormatPython, "python", "docsapi/errors.py")
}

func TestPythonClientPassesItsOwnTests(t *testing.T) {
	t.Parallel()
	execute(t, pythonSource, "python3", "-B", "-W", "error", "-m", "unittest")
}

// TestPythonPackage does what a user does: it installs the wheel that setuptools makes of
// clients/python in a new environment, and runs programs there.
func TestPythonPackage(t *testing.T) {
	t.Parallel()
	wheel := buildPython(t)
	venv := t.TempDir()
	execute(t, ".", "python3", "-m", "venv", venv)
	python := filepath.Join(venv, "bin", "python")
	execute(t, ".", python, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel)

	t.Run("SnippetOfSpecificationRuns", func(t *testing.T) { testPythonSnippet(t, python) })
	t.Run("ProgramsOfReadmeRun", func(t *testing.T) { testPythonReadme(t, python) })
	t.Run("TypesFitStrictPrograms", func(t *testing.T) { testPythonTypes(t, python) })
	t.Run("MethodsDoWhatTheyShould", func(t *testing.T) { testPythonTour(t, python) })
	t.Run("UntrustedCertificateIsNotRetried", func(t *testing.T) { testPythonCertificate(t, python) })
	testClient(t, func(t *testing.T, program string, args ...string) string {
		t.Helper()
		return runPython(t, python, "testdata/"+program+".py", args...)
	})
}

// buildPython builds the source distribution of the client, and from that the wheel. It returns
// the wheel's path.
func buildPython(t *testing.T) (wheel string) {
	t.Helper()
	builder := pythonWithSetuptools(t)
	folder := t.TempDir()
	source := filepath.Join(folder, "source")
	require.NoError(t, os.CopyFS(source, os.DirFS(pythonSource))) // setuptools leaves files in the source

	const build = "import sys, setuptools.build_meta as backend; getattr(backend, sys.argv[1])(sys.argv[2])"
	execute(t, source, builder, "-c", build, "build_sdist", folder)
	execute(t, folder, builder, "-m", "tarfile", "-e", "docsapi-0.1.0.tar.gz")
	execute(t, filepath.Join(folder, "docsapi-0.1.0"), builder, "-c", build, "build_wheel", folder)

	wheel = filepath.Join(folder, "docsapi-0.1.0-py3-none-any.whl")
	archive, err := zip.OpenReader(wheel)
	require.NoError(t, err)
	defer archive.Close()
	var files []string
	for _, file := range archive.File {
		if strings.HasPrefix(file.Name, "docsapi/") {
			files = append(files, file.Name)
		}
	}
	require.ElementsMatch(t, []string{
		"docsapi/__init__.py", "docsapi/_client.py", "docsapi/_network.py", "docsapi/_retry.py",
		"docsapi/_transport.py", "docsapi/_version.py", "docsapi/errors.py", "docsapi/py.typed",
	}, files)
	return wheel
}

// pythonWithSetuptools returns a Python that can build wheels without a package index. The first on
// the PATH may not be that of the system.
func pythonWithSetuptools(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import setuptools, wheel").Run() == nil {
			return python
		}
	}
	require.Fail(t, "clienttest: setuptools or wheel is missing: run make deps")
	return ""
}

// runPython runs a program of testdata with the installed client, and returns what it prints.
func runPython(t *testing.T, python, program string, args ...string) string {
	t.Helper()
	stdout, _ := execute(t, ".", python, append([]string{"-I", "-W", "error", program}, args...)...)
	return stdout
}

// The snippet is that of the specification, word for word. The client is what it leaves open.
func testPythonSnippet(t *testing.T, python string) {
	t.Parallel()
	snippet, err := os.ReadFile("testdata/snippet.py")
	require.NoError(t, err)
	server := docsapitest.Start(t)
	program := filepath.Join(t.TempDir(), "main.py")
	client := fmt.Sprintf("import docsapi\nclient = docsapi.Client(%q, base_url=%q)\n", docsapitest.KeyDemo, server.URL)
	require.NoError(t, os.WriteFile(program, append([]byte(client), snippet...), 0o666))
	require.Equal(t, "Missing: name\n", runPython(t, python, program))
}

var pythonCode = regexp.MustCompile("(?ms)^```python\n(.*?)^```$")

func testPythonReadme(t *testing.T, python string) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(pythonSource, "README.md"))
	require.NoError(t, err)
	var program strings.Builder
	for _, block := range pythonCode.FindAllSubmatch(text, -1) {
		program.Write(block[1])
	}
	server := docsapitest.Start(t)
	const defaults = `docsapi.Client("sk_test_demo")`
	require.Equal(t, 1, strings.Count(program.String(), defaults))
	code := strings.Replace(program.String(), defaults, fmt.Sprintf("docsapi.Client(%q, base_url=%q)", docsapitest.KeyDemo, server.URL), 1)
	file := filepath.Join(t.TempDir(), "main.py")
	require.NoError(t, os.WriteFile(file, []byte(code), 0o666))
	require.Regexp(t, `^res_\w+ Another name\nMissing: name\n$`, runPython(t, python, file))
}

// mypy finds the mistakes in a program, and nothing else. It finds them in the types of the
// installed client.
func testPythonTypes(t *testing.T, python string) {
	t.Parallel()
	_, err := exec.LookPath("mypy")
	require.NoError(t, err, "run make deps")
	folder := t.TempDir()
	mypy := func(args ...string) string {
		args = append([]string{"--strict", "--python-version", "3.9", "--no-color-output", "--no-error-summary", "--cache-dir", folder}, args...)
		out, _ := exec.CommandContext(t.Context(), "mypy", args...).CombinedOutput()
		return string(out)
	}
	require.Empty(t, mypy(filepath.Join(pythonSource, "docsapi")))

	const program = "testdata/uses.py"
	text, err := os.ReadFile(program)
	require.NoError(t, err)
	wrong := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasSuffix(line, "# wrong") {
			wrong[fmt.Sprintf("%s:%d", program, i+1)] = true
		}
	}
	require.NotEmpty(t, wrong)
	found := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^(\S+:\d+): error:`).FindAllStringSubmatch(mypy("--python-executable", python, program), -1) {
		found[match[1]] = true
	}
	require.Equal(t, wrong, found)
}

func testPythonTour(t *testing.T, python string) {
	t.Parallel()
	server := docsapitest.Start(t)
	require.Regexp(t, `^first {'color': 'blue'}
True
Resource\(id='res_\w+', name='renamed', metadata={'color': 'blue'}\)
True
409 idempotency_conflict
\['renamed', 'b', 'c'\] True
\['d'\] None
None
404 resource_missing
\['b', 'c', 'd'\]
403 permission_denied
401 authentication_failed
$`, runPython(t, python, "testdata/tour.py", server.URL))
}

func testPythonCertificate(t *testing.T, python string) {
	t.Parallel()
	var connections, requests atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, `{"data":[]}`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	const program = `
import sys
import docsapi
try:
    print(list(docsapi.Client("sk_test_demo", base_url=sys.argv[1]).resources.list()))
except docsapi.NetworkError as err:
    print(type(err.__cause__).__name__, err.retryable)
`
	stdout, _ := execute(t, ".", python, "-I", "-c", program, server.URL)
	require.Equal(t, "SSLCertVerificationError False\n", stdout)
	require.EqualValues(t, 1, connections.Load())
	require.Zero(t, requests.Load())

	authority := filepath.Join(t.TempDir(), "authority.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(block), 0o666))
	stdout, _ = execute(t, ".", "env", "SSL_CERT_FILE="+authority, python, "-I", "-c", program, server.URL)
	require.Equal(t, "[]\n", stdout)
	require.EqualValues(t, 1, requests.Load())
}
