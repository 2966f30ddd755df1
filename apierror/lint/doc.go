// Package lint provides analyzers that find errors that bypass the catalog of package
// [github.com/seawall-go/seawall/apierror]. They work with go vet, and with any other driver of
// golang.org/x/tools/go/analysis, such as gopls, golangci-lint and Bazel's nogo.
//
//	go install github.com/seawall-go/seawall/apierror/lint/cmd/seawall-lint@latest
//	go vet -vettool=$(which seawall-lint) ./...
//
// # What they find
//
// [Bypass] (apierrorbypass) finds errors that a handler writes by hand. Clients get no error object
// for them:
//
//	http.Error(w, "no such order", http.StatusNotFound)
//	w.WriteHeader(http.StatusForbidden)
//
// [AnsweredTwice] (apierrortwice) finds handlers that continue after they have written an error:
//
//	order, err := store.Load(ctx, id)
//	if err != nil {
//		apierror.Write(w, r, err) // a return is missing
//	}
//	json.NewEncoder(w).Encode(order)
//
// [UndefinedCode] (apierrorcode) finds codes that are sent, in any package, but that no catalog
// defines:
//
//	rd := &apierror.Renderer{Catalog: apierror.MustCatalog(CardDeclined)}
//
//	return apierror.Code("card_declned") // sent as 500
//
// [LostContext] (apierrorcontext) finds errors that are written with a request that does not have
// the context of the handler's request:
//
//	apierror.Write(w, r.WithContext(context.Background()), err)
//
// Each analyzer's documentation describes what it reports: see "seawall-lint help apierrorbypass".
// The analyzers know functions that answer for a handler, such as fail(w, r, err) and
// writeJSON(w, http.StatusNotFound, body), in other packages and modules too.
//
// The analyzers avoid false alarms, so they do not find every error that bypasses the catalog. They
// do not follow a status in a variable, a code in a table, a function in a variable, or a response
// that is a field of a struct, as in c.Fail(err).
//
// # What they do not check
//
// Tests are not checked unless the flag -tests is set, because tests often imitate a broken server.
// Generated files are never checked. With the flag -all, Bypass also checks packages that import
// neither apierror nor seawall. The name of the analyzer is part of each flag:
//
//	go vet -vettool=$(which seawall-lint) -apierrorbypass.all -apierrortwice.tests ./...
//
// A directive silences the findings on its own line and on the next one. It must give a reason:
//
//	//apierror:ignore the load balancer reads only the status
//	w.WriteHeader(http.StatusServiceUnavailable)
package lint

import "golang.org/x/tools/go/analysis"

// Analyzers returns all analyzers of this package, for a driver.
func Analyzers() []*analysis.Analyzer {
	return []*analysis.Analyzer{Bypass, AnsweredTwice, UndefinedCode, LostContext}
}
