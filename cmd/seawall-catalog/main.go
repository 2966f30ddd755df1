// Seawall-catalog exports an API's error catalog, and finds changes to it that break clients.
//
//	seawall-catalog export [-format FORMAT] [-o FILE] [-title TITLE] [-package NAME] [CATALOG]
//	seawall-catalog diff OLD NEW
//
// CATALOG, OLD and NEW are each one of:
//
//   - a variable of type *apierror.Catalog in a Go package: ./errs.Catalog,
//     example.com/shop/errs.Catalog, or just Catalog in the current folder. The package must
//     not be a command. Its init functions run, and what they print is ignored;
//   - the URL of a page that package reference serves, such as
//     https://api.example.com/docs/errors;
//   - a file that "export -format json" has written.
//
// Without a CATALOG, export uses the built-in one. The formats are those of package
// reference: html, markdown, json, jsonschema, openapi, typescript, python and go. The default
// is json. Flags come before the CATALOG:
//
//	-o        the file to write; without it, export prints to standard output
//	-title    the title of the page and of the other formats; the default is "API errors", or the
//	          title of the URL's or file's catalog
//	-package  the name of the Go package; the default is apierrors
//
// Diff prints one line for each change. Its exit status is 0 if no change breaks clients, 1 if
// a change does, and 2 if the catalogs could not be compared. In continuous integration, compare
// the change with what is deployed:
//
//	seawall-catalog diff https://api.example.com/docs/errors ./errs.Catalog
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/seawall-go/seawall/apierror/reference"
)

const usage = `usage:
  seawall-catalog export [-format FORMAT] [-o FILE] [-title TITLE] [-package NAME] [CATALOG]
  seawall-catalog diff OLD NEW

CATALOG, OLD and NEW are each a Go variable (./errs.Catalog), the URL of a
reference page, or a file from "export -format json". The default CATALOG is
the built-in one.

  -format   one of %s;
            the default is json
  -o        the file to write; the default is standard output
  -title    the title of the page and of the other formats
  -package  the name of the Go package; the default is apierrors

diff prints the changes. Its exit status is 0 if no change breaks clients, 1 if
one does, and 2 if the catalogs could not be compared.
`

// Exit statuses.
const (
	exitOK       = 0
	exitBreaking = 1
	exitTrouble  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// formats returns the names of all formats.
func formats() string {
	var names []string
	for _, f := range reference.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// usageError is a mistake in the command line. If it is empty, only the usage is printed.
type usageError string

func (e usageError) Error() string { return string(e) }

// run carries out a command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	breaking, err := command(ctx, args, stdout)
	var wrong usageError
	switch {
	case errors.As(err, &wrong):
		if wrong != "" {
			fmt.Fprintf(stderr, "seawall-catalog: %s\n", wrong)
		}
		fmt.Fprintf(stderr, usage, formats())
		return exitTrouble
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "seawall-catalog: interrupted")
		return exitTrouble
	case err != nil:
		fmt.Fprintf(stderr, "seawall-catalog: %v\n", err)
		return exitTrouble
	case breaking:
		return exitBreaking
	default:
		return exitOK
	}
}

// command runs a command. It reports whether diff found a breaking change.
func command(ctx context.Context, args []string, stdout io.Writer) (breaking bool, err error) {
	if len(args) == 0 {
		return false, usageError("")
	}
	switch {
	case args[0] == "help", slices.ContainsFunc(args, isHelp):
		_, err := fmt.Fprintf(stdout, usage, formats())
		return false, err
	case args[0] == "export":
		return false, export(ctx, args[1:], stdout)
	case args[0] == "diff":
		return diff(ctx, args[1:], stdout)
	default:
		return false, usageError(fmt.Sprintf("there is no command %q", args[0]))
	}
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

func export(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	format := flags.String("format", string(reference.FormatJSON), "")
	file := flags.String("o", "", "")
	var o reference.Options
	flags.StringVar(&o.Title, "title", "", "")
	flags.StringVar(&o.GoPackage, "package", "", "")
	if err := flags.Parse(args); err != nil {
		return usageError(err.Error())
	}
	switch {
	case flags.NArg() > 1:
		return usageError(fmt.Sprintf("export takes one catalog, not %q: flags come before it", flags.Args()))
	case o.Validate() != nil:
		return usageError(fmt.Sprintf("-package: %q is not the name of a Go package", o.GoPackage))
	case reference.Format(*format).FileName() == "":
		return usageError(fmt.Sprintf("-format: there is no format %q", *format))
	}
	docs := reference.New(nil, &o)
	if flags.NArg() == 1 {
		var err error
		if docs, err = load(ctx, flags.Arg(0), &o); err != nil {
			return err
		}
	}
	text, err := docs.Render(reference.Format(*format))
	if err != nil {
		return err
	}
	if *file != "" && *file != "-" {
		return os.WriteFile(*file, text, 0o666) //nolint:gosec // a source file or a document, which others may read
	}
	_, err = stdout.Write(text)
	return err
}

// diff prints the breaking changes, then the others.
func diff(ctx context.Context, args []string, stdout io.Writer) (breaking bool, err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) != 2 {
		return false, usageError(fmt.Sprintf("diff takes two catalogs, not %d", len(args)))
	}
	from, err := load(ctx, args[0], nil)
	if err != nil {
		return false, err
	}
	to, err := load(ctx, args[1], nil)
	if err != nil {
		return false, err
	}
	var breaks, others []string
	for _, change := range reference.Diff(from, to) {
		if change.Breaking() {
			breaks = append(breaks, "breaking  "+change.String())
		} else {
			others = append(others, "          "+change.String())
		}
	}
	for _, text := range append(breaks, others...) {
		if _, err := fmt.Fprintln(stdout, text); err != nil {
			return false, err
		}
	}
	_, err = fmt.Fprintf(stdout, "%d breaking, %d other\n", len(breaks), len(others))
	return len(breaks) > 0, err
}
