package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		out, problems, status := execute(t, "export", variable)
		require.Zero(t, status, problems)
		require.Contains(t, out, `"resolution": "Ask the customer for another card."`)
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
		"./nowhere.Catalog":       "directory not found",
		"./broken.Catalog":        "undefined: nothing",
		"example.com/nix.Catalog": "example.com/nix",
		"Catalog":                 "a command cannot be imported",
		"-x.Catalog":              "flag provided but not defined",
		"errs.Catalog;os.Exit(0)": "exported variable",
	} {
		out, problems, status := execute(t, "export", variable)
		require.Equal(t, exitTrouble, status, variable)
		require.Empty(t, out)
		require.Contains(t, problems, want, variable)
	}
	require.Equal(t, before, files(t, dir), "the command wrote to the module")
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

func TestExportWithoutCatalogHasTheBuiltInCodes(t *testing.T) {
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
		{"no export", []string{"diff", old, garbage}, exitTrouble, "garbage.json: reference: the export is not JSON"},
		{"one argument", []string{"diff", old}, exitTrouble, "diff takes two catalogs, not 1\nusage:"},
		{"nothing", nil, exitTrouble, "usage:"},
		{"no command", []string{"compare"}, exitTrouble, `there is no command "compare"`},
		{"no format", []string{"export", "-format", "pdf"}, exitTrouble, `there is no format "pdf"`},
		{"no package", []string{"export", "-package", "a b"}, exitTrouble, `"a b" is not the name of a Go package`},
		{"flag after the catalog", []string{"export", old, "-o", "x"}, exitTrouble, "flags come before it"},
		{"folder to write to", []string{"export", "-o", t.TempDir()}, exitTrouble, "is a directory"},
		{"help", []string{"--help"}, exitOK, "usage:"},
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
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	out, problems, status := execute(t, "diff", server.URL+"/docs/errors#card_declined", exported(t))
	require.Equal(t, exitBreaking, status, problems)
	require.Contains(t, out, "card_declined: removed")

	for page, want := range map[string]string{
		server.URL + "/elsewhere":     "404 Not Found",
		server.URL + "/long":          "longer than",
		"http://127.0.0.1:1/":         "connection refused",
		"http://[::1]:namedport/page": "invalid port",
	} {
		_, problems, status := execute(t, "export", page)
		require.Equal(t, exitTrouble, status)
		require.Contains(t, problems, want)
	}
}
