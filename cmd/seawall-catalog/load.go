package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/token"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror/reference"
)

// maxExport is the largest export that is read from a URL, in bytes.
const maxExport = 16 << 20

// load reads a catalog from a Go variable, a URL or a file.
func load(ctx context.Context, source string, o *reference.Options) (*reference.Reference, error) {
	var document []byte
	var err error
	switch {
	case strings.HasPrefix(source, "http://"), strings.HasPrefix(source, "https://"):
		source, document, err = fetch(ctx, source)
	case isFile(source):
		document, err = os.ReadFile(source)
	default:
		document, err = runExport(ctx, source)
	}
	if err != nil {
		return nil, err
	}
	docs, err := reference.Parse(document, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return docs, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir() || strings.HasSuffix(name, ".json")
}

// fetch returns the export that a service's reference page serves. It also returns the URL of the
// page without its password and query, for error messages.
func fetch(ctx context.Context, source string) (page string, document []byte, err error) {
	u, err := url.Parse(source)
	if err != nil {
		return "", nil, fmt.Errorf("the URL of the page is invalid: %w", withoutURL(err))
	}
	page = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	query := u.Query()
	query.Set("format", string(reference.FormatJSON))
	u.RawQuery, u.Fragment = query.Encode(), ""
	if document, err = get(ctx, u.String()); err != nil {
		err = fmt.Errorf("%s: %w", page, err)
	}
	return page, document, err
}

func get(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, withoutURL(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the status is %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t == "text/html" {
		return nil, errors.New("the response is HTML, not an export: use the URL of a reference page that needs no login")
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxExport+1))
	if err == nil && len(document) > maxExport {
		err = fmt.Errorf("the export is longer than %d bytes", maxExport)
	}
	return document, err
}

// withoutURL returns the error inside an error of package net/url or net/http. The outer error has
// the URL, which may have a password.
func withoutURL(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

// program writes the export of a variable to a file, because init functions may print. The first
// %q is the import path, %s the name, and the second %q the file.
const program = `package main

import (
	"os"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"

	catalog %q
)

func main() {
	var c *apierror.Catalog = catalog.%s
	if c == nil {
		fail("the catalog is nil")
	}
	export, err := reference.New(c, nil).Render(reference.FormatJSON)
	if err == nil {
		err = os.WriteFile(%q, export, 0o600)
	}
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	os.Stderr.WriteString(why)
	os.Exit(1)
}
`

// programFolder is the folder of the program. It exists in an overlay only.
const programFolder = "seawall_catalog_export"

// runExport returns the export of a variable of a Go package. It builds and runs a program that
// imports the package. The program is in an overlay, so it does not change the module.
func runExport(ctx context.Context, variable string) (document []byte, err error) {
	pkg, name, err := splitVariable(variable)
	if err != nil {
		return nil, err
	}
	from, below, err := findPackage(ctx, variable, pkg)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "seawall-catalog-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	var (
		source  = filepath.Join(temp, "main.go")
		overlay = filepath.Join(temp, "overlay.json")
		binary  = filepath.Join(temp, "export.exe") // Windows needs the extension
		export  = filepath.Join(temp, "export.json")
	)
	replace, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(below.Dir, programFolder, "main.go"): source},
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(source, fmt.Appendf(nil, program, from, name, export), 0o600),
		os.WriteFile(overlay, replace, 0o600),
	)
	if err != nil {
		return nil, err
	}
	if err := build(ctx, overlay, binary, path.Join(below.ImportPath, programFolder)); err != nil {
		return nil, fmt.Errorf("%s cannot be read as a variable of type *apierror.Catalog: %w", variable, err)
	}
	if _, err := output(execCommand(ctx, binary)); err != nil {
		return nil, fmt.Errorf("%s: the program that imports the package failed: %w", variable, err)
	}
	document, err = os.ReadFile(export)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s: an init function of the package, or of one that it imports, ends the program", variable)
	}
	return document, err
}

// folder is where a package is, or could be.
type folder struct{ Dir, ImportPath string }

// findPackage returns the import path of a package, and the folder below which a program can import
// it. That is the folder of the package, so the program can import internal packages. Nothing can
// be added to the module cache or to a vendor folder, so for a package there it is the folder of
// the main module.
func findPackage(ctx context.Context, variable, pkg string) (from string, below folder, err error) {
	listed, err := output(execCommand(ctx, "go", "list", "-json=Dir,ImportPath,Name,Module", "--", pkg))
	if info, statErr := os.Stat(pkg); err != nil && statErr == nil && info.IsDir() && pkg[0] != '.' && !filepath.IsAbs(pkg) {
		return "", folder{}, fmt.Errorf("%s: there is no package %s: if you mean the folder, write ./%s", variable, pkg, variable)
	}
	if err != nil {
		return "", folder{}, fmt.Errorf("%s: go list: %w", variable, err)
	}
	var info struct {
		folder
		Name   string
		Module *struct {
			Dir     string
			Main    bool
			Replace *struct{ Version string }
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(listed))
	if err := decoder.Decode(&info); err != nil {
		return "", folder{}, fmt.Errorf("%s: go list: %w", variable, err)
	}
	switch m := info.Module; {
	case decoder.More():
		return "", folder{}, fmt.Errorf("%s: %q names several packages", variable, pkg)
	case info.Name == "main":
		return "", folder{}, fmt.Errorf("%s: a command cannot be imported: move the catalog to another package", variable)
	case m == nil:
		return "", folder{}, fmt.Errorf("%s: the package is in no module", variable)
	case m.Main, m.Dir != "" && m.Replace != nil && m.Replace.Version == "":
		return info.ImportPath, info.folder, nil
	}
	listed, err = output(execCommand(ctx, "go", "list", "-m", "-json=Dir,Path"))
	if err != nil {
		return "", folder{}, fmt.Errorf("%s: go list: %w", variable, err)
	}
	var main struct{ Dir, Path string } // the first one of a workspace
	if err := json.NewDecoder(bytes.NewReader(listed)).Decode(&main); err != nil {
		return "", folder{}, fmt.Errorf("%s: go list: %w", variable, err)
	}
	return info.ImportPath, folder{main.Dir, main.Path}, nil
}

// build builds the program. If a vendor folder lacks package reference, because the service does
// not import it, the program is built with the module cache.
func build(ctx context.Context, overlay, binary, pkg string) error {
	run := func(mode ...string) error {
		args := slices.Concat([]string{"build", "-buildvcs=false", "-overlay=" + overlay, "-o=" + binary}, mode, []string{pkg})
		_, err := output(execCommand(ctx, "go", args...))
		return err
	}
	err := run()
	if err != nil && strings.Contains(err.Error(), "-mod=vendor") {
		return run("-mod=readonly")
	}
	return err
}

// splitVariable splits "./errs.Catalog" into the package and the variable. A variable alone is in
// the current folder's package.
func splitVariable(s string) (pkg, name string, err error) {
	pkg, name = ".", s
	if i := strings.LastIndex(s, "."); i >= 0 {
		pkg, name = s[:i], s[i+1:]
	}
	if pkg == "" || strings.HasSuffix(pkg, ".go") || !token.IsIdentifier(name) || !token.IsExported(name) {
		return "", "", fmt.Errorf("%q is neither a file nor an exported variable of a package, such as ./errs.Catalog", s)
	}
	return pkg, name, nil
}

// execCommand returns a command that ends in time when the context does, with what it has started.
func execCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the arguments name a package of the caller's
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output returns what a command prints. Its error has the text that the command prints to stderr.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if text := bytes.TrimSpace(stderr.Bytes()); len(text) > 0 {
			err = fmt.Errorf("%w\n%s", err, text)
		}
		return nil, err
	}
	return out, nil
}
