package apierror_test

import (
	"errors"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// equal and asError are all the assertions that the package's tests need: no consumer of apierror shall get a test library
// into its go.sum.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s\n is     %v\n is not %v", what, got, want)
	}
}

func asError(t testing.TB, err error) *apierror.Error {
	t.Helper()
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		t.Fatalf("no *apierror.Error: %v", err)
	}
	return e
}
