package apierror_test

import (
	"errors"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// equal and asError are the only assertions of the package's tests: a module that imports apierror
// must not get a test library into its go.sum.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s\n got  %v\n want %v", what, got, want)
	}
}

func asError(t testing.TB, err error) *apierror.Error {
	t.Helper()
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		t.Fatalf("%v is not an *apierror.Error", err)
	}
	return e
}
