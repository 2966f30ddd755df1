package lint

import (
	"go/ast"
	"go/types"
	"path"
	"regexp"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
)

var (
	// noWork has the first words of the names of functions that handlers call after an answer.
	noWork = words("close rollback flush sync shutdown release unlock log logf print printf println record observe " +
		"report track trace audit emit notify wait end finish done clean cleanup err cause unwrap")
	// noWorkIn has the last elements of the paths of packages whose functions are no work.
	noWorkIn = words("fmt errors log logs logger logging slog zap zerolog logrus logr glog klog " +
		"metric metrics prometheus otel trace tracing audit sentry apierror")

	firstWord = regexp.MustCompile(`^[A-Z]?[a-z]+`)
)

func words(list string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(list) {
		set[word] = true
	}
	return set
}

// works reports whether a call is work that can fail, which should not follow an answer.
func (w *walk) works(call *ast.CallExpr) bool {
	sig := w.signature(call)
	if sig == nil || sig.Results().Len() == 0 {
		return false
	}
	last := sig.Results().At(sig.Results().Len() - 1).Type()
	if !isErrorInterface(last) {
		return false
	}
	f := typeutil.Callee(w.TypesInfo, call)
	if f == nil {
		return true // a function in a variable
	}
	if f.Pkg() != nil && noWorkIn[path.Base(f.Pkg().Path())] || isNoWork(f) {
		return false
	}
	drains := isFunc(f, "io", "Copy", "CopyN") && isDiscard(w.object(call.Args[0]))
	removes := f.Name() == "Remove" || f.Name() == "RemoveAll" // temporary files
	return !drains && !removes
}

// isNoWork reports whether the name of a function says that it is not work.
func isNoWork(f types.Object) bool {
	return f != nil && noWork[strings.ToLower(firstWord.FindString(f.Name()))]
}

func isDiscard(obj types.Object) bool {
	return obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == "io" && obj.Name() == "Discard"
}
