// Seawall-lint runs the analyzers of package [lint], alone or as a tool of go vet:
//
//	seawall-lint ./...
//	go vet -vettool=$(which seawall-lint) ./...
//
// The second form caches its results, as go vet does. "seawall-lint help" lists the
// analyzers and their flags.
//
// [lint]: https://pkg.go.dev/github.com/seawall-go/seawall/apierror/lint
package main

import (
	"golang.org/x/tools/go/analysis/multichecker"

	"github.com/seawall-go/seawall/apierror/lint"
)

func main() { multichecker.Main(lint.Analyzers()...) }
