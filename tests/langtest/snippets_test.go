package langtest

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// The programs around the snippets. Each is given a URL.
const (
	goProgram = `package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"example.com/client/apierrors"
)

func main() {
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	req, err := http.NewRequest("POST", os.Args[1], nil)
	if err == nil {
		err = send(req)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(req *http.Request) error {
SNIPPET
	return nil
}
`
	javaScriptProgram = `const url = process.argv[2], body = "{}";
console.error = console.log;
SNIPPET`
	typeScriptProgram = `declare const url: string, body: string;
SNIPPET`
	pythonProgram = `import sys
url, body = sys.argv[1], {}
SNIPPET`

	// requestsModule stands in for the package requests.
	requestsModule = `import contextlib, http.client, json as encoding, types, urllib.parse

def post(url, *, json):
    parts = urllib.parse.urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc)) as connection:
        connection.request("POST", parts.path, encoding.dumps(json))
        with connection.getresponse() as response:
            return types.SimpleNamespace(status_code=response.status, headers=response.headers, content=response.read())
`
)

func TestSnippetsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	for path, err := range map[string]error{
		"/missing": apierror.ParameterMissing("name"),
		"/invalid": apierror.CodeParameterInvalid.New(),
		"/failed":  apierror.CodeAPIError.New(),
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			apierror.Write(w, r, err)
		})
	}
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	renderer := &apierror.Renderer{Logger: slog.New(slog.DiscardHandler)}
	server := httptest.NewServer(renderer.Handler(mux))
	t.Cleanup(server.Close)

	folder := t.TempDir()
	docs := reference.New(nil, nil)
	for _, format := range []reference.Format{reference.FormatTypeScript, reference.FormatPython, reference.FormatGo} {
		content, err := docs.Render(format)
		require.NoError(t, err)
		dir := "client"
		if format == reference.FormatGo {
			dir = "apierrors"
		}
		put(t, filepath.Join(folder, dir, format.FileName()), content)
	}
	program := func(file, around, snippet string) {
		code, err := os.ReadFile(filepath.Join(snippets, snippet))
		require.NoError(t, err)
		put(t, filepath.Join(folder, file), []byte(strings.Replace(around, "SNIPPET", string(code), 1)))
	}
	put(t, filepath.Join(folder, "go.mod"), []byte("module example.com/client\n\ngo 1.24\n"))
	program("main.go", goProgram, "go.txt")
	program("client/main.mjs", javaScriptProgram, "javascript.txt")
	program("client/main.py", pythonProgram, "python.txt")
	put(t, filepath.Join(folder, "client/requests.py"), []byte(requestsModule))
	program("client/snippet.ts", typeScriptProgram, "javascript.txt")
	compileTypeScript(t, folder)
	tsc(t, folder, map[string]any{"lib": []string{"es2022", "dom"}, "types": []string{}, "noEmit": true}, "client/snippet.ts")
	run(t, folder, "go", "vet", "./...")
	run(t, folder, "go", "build", "-o", "client/main", ".")

	for language, command := range map[string][]string{
		"Go":         {filepath.Join(folder, "client/main")},
		"JavaScript": {"node", "client/main.mjs"},
		"Python":     {"python3", "-W", "error", "client/main.py"},
	} {
		for path, row := range map[string]struct{ printed, failed string }{
			"/missing": {"Missing: name\n", ""},
			"/invalid": {"", "req_"},
			"/failed":  {"", "req_"},
			"/ok":      {"", ""},
		} {
			t.Run(language+path, func(t *testing.T) {
				t.Parallel()
				var stdout, stderr bytes.Buffer
				cmd := exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], server.URL+path)...)
				cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &stdout, &stderr
				err := cmd.Run()
				require.Equal(t, row.printed, stdout.String())
				if row.failed == "" {
					require.NoError(t, err, stderr.String())
					require.Empty(t, stderr.String())
					return
				}
				exit, ok := errors.AsType[*exec.ExitError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, 1, exit.ExitCode())
				require.Contains(t, stderr.String(), row.failed)
			})
		}
	}
}
