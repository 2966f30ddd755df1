package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

var declined = apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."}

// execute runs a command line.
func execute(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, problems strings.Builder
	status = run(t.Context(), args, &out, &problems)
	return out.String(), problems.String(), status
}

// exported returns a file with the export of a catalog of defs.
func exported(t *testing.T, defs ...apierror.Definition) string {
	t.Helper()
	export, err := reference.New(apierror.MustCatalog(defs...), nil).Render(reference.FormatJSON)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "old.json")
	require.NoError(t, os.WriteFile(file, export, 0o666))
	return file
}

func TestExportOfGoVariable(t *testing.T) {
	dir, err := filepath.Abs("testdata/shop")
	require.NoError(t, err)
	before := files(t, dir)
	t.Chdir(dir)
	for _, variable := range []string{"./errs.Catalog", "example.com/shop/errs.Catalog"} {
		out, problems, status := execute(t, "export", "-o", "-", variable)
		require.Zero(t, status, problems)
		require.Contains(t, out, `"resolution": "Ask the customer for another card."`)
	}
	for _, variable := range []string{"./odd/other.Catalog", "./odd/prints.Catalog"} {
		out, problems, status := execute(t, "diff", "--", variable, exported(t))
		require.Zero(t, status, problems)
		require.Equal(t, "0 breaking, 0 other\n", out)
	}
	out, problems, status := execute(t, "diff", "./errs.Catalog", "./internal/errs.Catalog")
	require.Equal(t, exitBreaking, status, problems)
	require.Contains(t, out, "breaking  card_declined: removed (402 invalid_request_error)\n")
	t.Chdir("errs")
	out, problems, status = execute(t, "export", "-title", "Shop errors", "Catalog")
	require.Zero(t, status, problems)
	require.Contains(t, out, `"title": "Shop errors"`)

	t.Chdir(dir)
	for variable, want := range map[string]string{
		"./internal/errs.Missing": "the catalog is nil",
		"./internal/errs.Text":    "as *apierror.Catalog value",
		"./internal/errs.Nothing": "undefined: catalog.Nothing",
		"./errs.catalog":          "exported variable",
		"./errs":                  "exported variable",
		"errs.Catalog":            "if you mean the folder, write ./errs.Catalog",
		"./nowhere.Catalog":       "directory not found",
		"./broken.Catalog":        "undefined: nothing",
		"example.com/nix.Catalog": "example.com/nix",
		"Catalog":                 "a command cannot be imported",
		"-x.Catalog":              "flag provided but not defined",
		"errs.Catalog;os.Exit(0)": "exported variable",
		"main.go.Catalog":         "exported variable",
		"./....Catalog":           `"./..." names several packages`,
		"./odd/other.Function":    "cannot be read as a variable of type *apierror.Catalog",
		"./odd/panics.Catalog":    "boom",
		"./odd/exits.Catalog":     "an init function of the package, or of one that it imports, ends the program",
	} {
		out, problems, status := execute(t, "export", variable)
		require.Equal(t, exitTrouble, status, variable)
		require.Empty(t, out)
		require.Contains(t, problems, want, variable)
	}
	require.Equal(t, before, files(t, dir), "the command wrote to the module")
}

// Nothing can be added below a package in a vendor folder, and the service need not import package
// reference.
func TestExportOfVendoredPackage(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
	}
	write("lib/go.mod", "module example.com/lib\n\ngo 1.26.0\n\nrequire github.com/seawall-go/seawall v0.0.0\n")
	write("lib/errs/errs.go", `package errs

import "github.com/seawall-go/seawall/apierror"

var Catalog = apierror.MustCatalog(apierror.Definition{Code: "from_lib", Type: apierror.TypeAPI, Status: 500, Message: "Lib."})
`)
	write("app/go.mod", "module example.com/app\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/seawall-go/seawall v0.0.0\n\texample.com/lib v0.0.0\n)\n\n"+
		"replace github.com/seawall-go/seawall => "+filepath.ToSlash(root)+"\nreplace example.com/lib => ../lib\n")
	write("app/main.go", "package main\n\nimport _ \"example.com/lib/errs\"\n\nfunc main() {}\n")
	t.Chdir(filepath.Join(dir, "app"))
	t.Setenv("GOWORK", "off")
	for _, vendored := range []bool{false, true} {
		if vendored {
			out, err := exec.CommandContext(t.Context(), "go", "mod", "vendor").CombinedOutput()
			require.NoError(t, err, string(out))
		}
		out, problems, status := execute(t, "export", "example.com/lib/errs.Catalog")
		require.Zero(t, status, problems)
		require.Contains(t, out, `"code": "from_lib"`)
	}
}

func TestInterruptEndsProgramAndLeavesNothing(t *testing.T) {
	started, temp := filepath.Join(t.TempDir(), "started"), t.TempDir()
	t.Setenv("SHOP_STARTED", started)
	t.Setenv("TMPDIR", temp)
	t.Chdir("testdata/shop")
	ctx, interrupt := context.WithCancel(t.Context())
	var out, problems strings.Builder
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"export", "./odd/hangs.Catalog"}, &out, &problems) }()
	require.Eventually(t, func() bool { return isFile(started) }, time.Minute, 10*time.Millisecond)
	interrupt()
	require.Equal(t, exitTrouble, <-ended)
	require.Equal(t, "seawall-catalog: interrupted\n", problems.String())
	require.Empty(t, out.String())
	require.FileExists(t, started)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// files returns the paths of all files in a folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

func TestExportWritesEachFormatToFile(t *testing.T) {
	t.Parallel()
	catalog := exported(t, declined)
	for _, format := range reference.Formats() {
		file := filepath.Join(t.TempDir(), format.FileName())
		out, problems, status := execute(t, "export", "-format", string(format), "-o", file, catalog)
		require.Zero(t, status, problems)
		require.Empty(t, out)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), "card_declined")
	}
}

func TestExportWithoutCatalogHasBuiltInCodes(t *testing.T) {
	t.Parallel()
	out, problems, status := execute(t, "export")
	require.Zero(t, status, problems)
	var export struct{ Codes []struct{ Code string } }
	require.NoError(t, json.Unmarshal([]byte(out), &export))
	require.Len(t, export.Codes, len(apierror.DefaultCatalog().Definitions()))
}

func TestDiffExitStatusIsForContinuousIntegration(t *testing.T) {
	t.Parallel()
	old := exported(t, declined)
	moved := declined
	moved.Status, moved.Message = 422, "Refused."
	garbage := filepath.Join(t.TempDir(), "garbage.json")
	require.NoError(t, os.WriteFile(garbage, []byte("<html>"), 0o666))
	for _, row := range []struct {
		name   string
		args   []string
		status int
		want   string // in the output
	}{
		{"same", []string{"diff", old, old}, exitOK, "0 breaking, 0 other\n"},
		{"added", []string{"diff", exported(t), old}, exitOK, "          card_declined: added (402 invalid_request_error)\n0 breaking, 1 other\n"},
		{"removed", []string{"diff", old, exported(t)}, exitBreaking, "breaking  card_declined: removed (402 invalid_request_error)\n1 breaking, 0 other\n"},
		{"changed", []string{"diff", old, exported(t, moved)}, exitBreaking, "breaking  card_declined: status changed from 402 to 422\n" +
			"          card_declined: message changed from \"The card was declined.\" to \"Refused.\"\n1 breaking, 1 other\n"},
		{"no file", []string{"diff", old, "nowhere.json"}, exitTrouble, "nowhere.json"},
		{"no export", []string{"diff", old, garbage}, exitTrouble, "garbage.json: reference: the document is not an export of a catalog"},
		{"one argument", []string{"diff", old}, exitTrouble, "diff takes two catalogs, not 1\nusage:"},
		{"nothing", nil, exitTrouble, "usage:"},
		{"no command", []string{"compare"}, exitTrouble, `there is no command "compare"`},
		{"no format", []string{"export", "-format", "pdf"}, exitTrouble, `there is no format "pdf"`},
		{"no package", []string{"export", "-package", "a b"}, exitTrouble, `"a b" is not the name of a Go package`},
		{"flag after the catalog", []string{"export", old, "-o", "x"}, exitTrouble, "flags come before it"},
		{"folder to write to", []string{"export", "-o", t.TempDir()}, exitTrouble, "is a directory"},
		{"help", []string{"--help"}, exitOK, "usage:"},
		{"help of a command", []string{"export", "-title", "x", "-h"}, exitOK, "usage:"},
		{"three arguments", []string{"diff", old, old, old}, exitTrouble, "diff takes two catalogs, not 3\nusage:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			out, problems, status := execute(t, row.args...)
			require.Equal(t, row.status, status, problems)
			require.Contains(t, out+problems, row.want)
			require.Equal(t, status == exitTrouble, problems != "", "problems, and nothing else, go to stderr: %q", problems)
		})
	}
}

func TestCatalogOfRunningService(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("GET /docs/errors", reference.New(apierror.MustCatalog(declined), nil))
	mux.Handle("GET /long", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxExport+1)) }))
	mux.Handle("GET /login", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html>") }))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	out, problems, status := execute(t, "diff", server.URL+"/docs/errors#card_declined", exported(t))
	require.Equal(t, exitBreaking, status, problems)
	require.Contains(t, out, "card_declined: removed")

	for page, want := range map[string]string{
		server.URL + "/elsewhere":     "404 Not Found",
		server.URL + "/long":          "longer than",
		server.URL + "/login":         "use the URL of a reference page that needs no login",
		"http://127.0.0.1:1/":         "connection refused",
		"http://[::1]:namedport/page": "invalid port",
	} {
		page = strings.Replace(page, "://", "://me:secret@", 1)
		_, problems, status := execute(t, "export", page)
		require.Equal(t, exitTrouble, status)
		require.Contains(t, problems, want)
		require.NotContains(t, problems, "secret")
	}
}
