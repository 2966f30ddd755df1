package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
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
		document, err = fetch(ctx, source)
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

// fetch returns the export that a service's reference page has.
func fetch(ctx context.Context, page string) ([]byte, error) {
	u, err := url.Parse(page)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	query.Set("format", string(reference.FormatJSON))
	u.RawQuery, u.Fragment = query.Encode(), ""

	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the status is %s", page, resp.Status)
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxExport+1))
	if err == nil && len(document) > maxExport {
		err = fmt.Errorf("%s: the export is longer than %d bytes", page, maxExport)
	}
	return document, err
}

// program prints the export of a variable. %q is the import path, %s the name.
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
		panic("the catalog is nil")
	}
	export, err := reference.New(c, nil).Render(reference.FormatJSON)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(export)
}
`

// runExport returns the export of a variable of a Go package. It runs a program that imports the
// package. The program is below the package's folder, so internal packages can be imported,
// but only in an overlay: nothing is written to the module.
func runExport(ctx context.Context, variable string) (document []byte, err error) {
	pkg, name, err := splitVariable(variable)
	if err != nil {
		return nil, err
	}
	listed, err := goCommand(ctx, "list", "-json=Dir,ImportPath,Name", "--", pkg)
	if err != nil {
		return nil, err
	}
	var info struct{ Dir, ImportPath, Name string }
	if err := json.Unmarshal(listed, &info); err != nil {
		return nil, fmt.Errorf("%s: go list: %w", variable, err)
	}
	if info.Name == "main" {
		return nil, fmt.Errorf("%s: a command cannot be imported: move the catalog to another package", variable)
	}

	temp, err := os.MkdirTemp("", "seawall-catalog-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	const folder = "seawall_catalog_export"
	source, overlay := filepath.Join(temp, "main.go"), filepath.Join(temp, "overlay.json")
	replace, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(info.Dir, folder, "main.go"): source},
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(source, fmt.Appendf(nil, program, info.ImportPath, name), 0o600),
		os.WriteFile(overlay, replace, 0o600),
	)
	if err != nil {
		return nil, err
	}
	return goCommand(ctx, "run", "-mod=readonly", "-overlay="+overlay, path.Join(info.ImportPath, folder))
}

// splitVariable splits "./errs.Catalog" into the package and the variable. A variable alone is in
// the current folder's package.
func splitVariable(s string) (pkg, name string, err error) {
	pkg, name = ".", s
	if i := strings.LastIndex(s, "."); i >= 0 {
		pkg, name = s[:i], s[i+1:]
	}
	if pkg == "" || !token.IsIdentifier(name) || !token.IsExported(name) {
		return "", "", fmt.Errorf("%q is no file, and not an exported variable of a package like ./errs.Catalog", s)
	}
	return pkg, name, nil
}

// goCommand returns what a go command prints.
func goCommand(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the arguments name a package of the caller's
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
