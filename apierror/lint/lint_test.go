package lint_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/seawall-go/seawall/apierror/lint"
)

// The testdata is a separate module that uses the apierror of this repository, so what the
// analyzers know of it cannot become outdated.

func TestErrorsAnsweredByHandAreReported(t *testing.T) {
	t.Parallel()
	analysistest.Run(t, analysistest.TestData(), lint.Bypass, "./bypass", "./plain", "./generated", "./withtests")
}

func TestHandlersThatContinueAfterWriteAreReported(t *testing.T) {
	t.Parallel()
	analysistest.Run(t, analysistest.TestData(), lint.AnsweredTwice, "./twice")
}

func TestRequestsWithoutTheirContextAreReported(t *testing.T) {
	t.Parallel()
	analysistest.Run(t, analysistest.TestData(), lint.LostContext, "./lost")
}

func TestCodesThatNoCatalogDefinesAreReported(t *testing.T) {
	t.Parallel()
	analysistest.Run(t, analysistest.TestData(), lint.UndefinedCode, "./codes/...")
}
