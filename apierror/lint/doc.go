// Package lint has analyzers that find errors which bypass the error catalog of package
// [github.com/seawall-go/seawall/apierror]. They are for go vet, and for every other driver of
// golang.org/x/tools/go/analysis, such as gopls, golangci-lint and Bazel's nogo.
//
//	go install github.com/seawall-go/seawall/apierror/lint/cmd/seawall-lint@latest
//	go vet -vettool=$(which seawall-lint) ./...
//
// # What they find
//
// [Bypass] (apierrorbypass) finds errors that are answered by hand, so that clients get no error
// object:
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
// [UndefinedCode] (apierrorcode) finds codes that are sent although no catalog defines them, in
// whichever package they are sent:
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
// Each analyzer's documentation says where it draws the line: see "seawall-lint help
// apierrorbypass". They prefer silence to a false alarm, so an error can bypass the catalog in
// ways that they do not see. For example, they do not follow a status in a variable.
//
// # What they do not check
//
// Tests are not checked unless the flag -tests is set, because tests often play a broken server.
// Generated files are never checked. The flag -all makes Bypass check packages that import
// neither apierror nor seawall. The name of the analyzer is part of a flag:
//
//	go vet -vettool=$(which seawall-lint) -apierrorbypass.all -apierrortwice.tests ./...
//
// A directive silences the findings in its own line and in the next one. It must give a reason:
//
//	//apierror:ignore the load balancer reads only the status
//	w.WriteHeader(http.StatusServiceUnavailable)
package lint

import "golang.org/x/tools/go/analysis"

// Analyzers returns all analyzers of this package, for a driver.
func Analyzers() []*analysis.Analyzer {
	return []*analysis.Analyzer{Bypass, AnsweredTwice, UndefinedCode, LostContext}
}
