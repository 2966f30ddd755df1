package reference_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

func TestGoConstantsOfSimilarCodesDiffer(t *testing.T) {
	t.Parallel()
	codes := []apierror.Code{"api_x", "a_p_i_x", "apix", "a_b", "ab", "a_b_", "a__b", "a1", "a_1", "url_id", "to", "qps_over", "smtp_eof"}
	want := []string{"CodeAPIX", "Code_a_p_i_x", "CodeApix", "CodeAB", "CodeAb", "Code_a_b_", "Code_a__b", "CodeA1", "Code_a_1", "CodeURLID", "CodeTo", "CodeQPSOver", "CodeSMTPEOF"}
	if got := constants(t, codes); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if got := constants(t, append(codes, "a_1_", "idx"))[:len(want)]; !reflect.DeepEqual(got, want) {
		t.Errorf("codes that were added change the others' names: %q", got)
	}
	if got := constants(t, nil); got != nil {
		t.Errorf("%q", got)
	}
}

// constants returns the names of the constants in the Go file for codes of one type.
func constants(t *testing.T, codes []apierror.Code) (names []string) {
	t.Helper()
	definitions := []map[string]any{}
	for _, code := range codes {
		definitions = append(definitions, map[string]any{"code": code, "type": apierror.TypeAPI, "status": 400, "message": "m"})
	}
	export, err := json.Marshal(map[string]any{"version": 1, "codes": definitions})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := reference.Parse(export, nil)
	if err != nil {
		t.Fatal(err)
	}
	source, err := docs.Render(reference.FormatGo)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		if group, ok := declaration.(*ast.GenDecl); ok && group.Tok == token.CONST && group.Lparen.IsValid() {
			for _, spec := range group.Specs {
				names = append(names, spec.(*ast.ValueSpec).Names[0].Name)
			}
		}
	}
	return names
}
