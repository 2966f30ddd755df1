package clienttest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

const compiler = "node_modules/typescript/bin/tsc"

func TestMain(m *testing.M) {
	for _, command := range []string{"node", "npm", "chromium", "python3"} {
		if _, err := exec.LookPath(command); err != nil {
			fail(command + " is missing")
		}
	}
	for _, file := range []string{compiler, "node_modules/@types/node/package.json", "node_modules/openai/package.json", "node_modules/stripe/package.json"} {
		if _, err := os.Stat(file); err != nil {
			fail("tests/clienttest/" + file + " is missing")
		}
	}
	_ = flag.Set("test.parallel", "4") // most tests wait for another process, or for a second to pass
	docsapitest.Main(m)
}

func fail(what string) {
	fmt.Fprintf(os.Stderr, "clienttest: %s: run make deps\n", what)
	os.Exit(1)
}

// requireGenerated checks that a client has the typed errors of the built-in catalog.
func requireGenerated(t *testing.T, format reference.Format, client, file string) {
	t.Helper()
	want, err := reference.New(nil, &reference.Options{Title: "Docs API errors"}).Render(format)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join("../../clients", client, file))
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), `clients/%s/%s is out of date. In the root, run:
go run ./cmd/seawall-catalog export -format %[3]s -title "Docs API errors" -o clients/%[1]s/%[2]s`, client, file, format)
}
