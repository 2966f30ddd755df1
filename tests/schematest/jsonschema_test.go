package schematest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// value returns JSON as the validator wants it.
func value(t testing.TB, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err, "%q", text)
	return v
}

// schema returns the JSON Schema of a catalog.
func schema(t testing.TB, catalog string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("errors.schema.json", value(t, render(t, exported(t, catalog), reference.FormatJSONSchema))))
	s, err := c.Compile("errors.schema.json")
	require.NoError(t, err)
	return s
}

func TestSchemaIsValidInDraft202012(t *testing.T) {
	t.Parallel()
	meta, err := jsonschema.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
	require.NoError(t, err)
	for _, catalog := range catalogs {
		document := value(t, render(t, exported(t, catalog), reference.FormatJSONSchema))
		require.NoError(t, meta.Validate(document), catalog)
		require.Equal(t, "https://json-schema.org/draft/2020-12/schema", document.(map[string]any)["$schema"])
	}
	require.Error(t, meta.Validate(map[string]any{"required": "error"}), "the check itself")
}

func TestSchemaAcceptsItsExamples(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		s := schema(t, catalog)
		document := value(t, render(t, exported(t, catalog), reference.FormatJSONSchema)).(map[string]any)
		examples := document["examples"].([]any)
		require.GreaterOrEqual(t, len(examples), 6)
		for _, example := range examples {
			require.NoError(t, s.Validate(example))
		}
	}
}

func TestSchemaAcceptsEveryErrorThatARendererSends(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		t.Run(catalog, func(t *testing.T) {
			t.Parallel()
			s, rd := schema(t, catalog), renderer(t, catalog)
			linked := renderer(t, catalog)
			linked.DocURL = func(code apierror.Code) string { return "/docs/errors#" + string(code) }
			for _, d := range rd.Catalog.Definitions() { // core: also those that Strict replaces
				for i, err := range variants(d) {
					require.NoError(t, s.Validate(value(t, body(t, send(rd, err)))), "variant %d of %s", i, d.Code)
				}
				require.NoError(t, s.Validate(value(t, body(t, send(linked, d)))), d.Code)
			}
			for _, err := range []error{
				errors.New("secret"), io.ErrUnexpectedEOF, context.DeadlineExceeded, context.Canceled,
				&http.MaxBytesError{Limit: 5}, (*apierror.Error)(nil), &apierror.Error{},
			} {
				require.NoError(t, s.Validate(value(t, body(t, send(rd, err)))), "%v", err)
			}
		})
	}
}

// A long link, message and code leave no room for the entries of "errors" and "metadata", which are
// then empty.
func TestSchemaAcceptsTheLargestError(t *testing.T) {
	t.Parallel()
	rd := renderer(t, "builtin")
	rd.DocURL = func(apierror.Code) string { return longText }
	text := body(t, send(rd, largest(apierror.Definition{Code: apierror.CodeTimeout, Type: apierror.TypeAPI, Status: 504, Message: "x"})))
	require.Contains(t, string(text), `"errors":[]`)
	require.Contains(t, string(text), `"metadata":{}`)
	require.NoError(t, schema(t, "builtin").Validate(value(t, text)))
}

func TestSchemaAcceptsRandomErrors(t *testing.T) {
	t.Parallel()
	for i, catalog := range catalogs {
		t.Run(catalog, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			s, rd := schema(t, catalog), renderer(t, catalog)
			defs := definitions(t, catalog)
			for range 500 {
				e := randomError(random, defs)
				text := body(t, send(rd, e))
				require.NoError(t, s.Validate(value(t, text)), "%s", text)
			}
		})
	}
}

// randomError returns an error of one of the definitions with some of what an error may have.
func randomError(random *rand.Rand, defs []apierror.Definition) *apierror.Error {
	text := func() string {
		runes := []rune("ab_<\"\\\x00\n\u2028\u202e\ufffdé🙂")
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteRune(runes[random.IntN(len(runes))])
		}
		return b.String() + []string{"", "\xff", "\xed\xa0"}[random.IntN(3)]
	}
	code := func() apierror.Code { return defs[random.IntN(len(defs))].Code }
	e := defs[random.IntN(len(defs))].New()
	for range random.IntN(6) {
		switch random.IntN(5) {
		case 0:
			e = e.WithMessage(text())
		case 1:
			e = e.WithParam(text())
		case 2:
			e = e.WithMetadata(text(), text())
		case 3:
			e = e.WithHeader("X-Own", "a").WithNotRetryable()
		case 4:
			e = e.WithField(apierror.Field{Code: code(), Param: text(), Message: text()})
		}
	}
	return e
}

// envelope is a valid body with all members.
const envelope = `{"error": {
	"type": "invalid_request_error", "code": "parameter_missing", "message": "Missing required parameter: name.", "param": "name",
	"request_id": "req_Hd92kLpQ7mXw3TzB", "doc_url": "https://api.example.com/docs/errors#parameter_missing",
	"errors": [
		{"code": "parameter_missing", "param": "name", "message": "Missing required parameter: name."},
		{"code": "own", "param": "", "message": ""}
	],
	"metadata": {"scope": "read", "": ""}
}}`

func TestSchemaAcceptsMoreMembers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, old, with string }{
		{"as it is", "", ""},
		{"in the body", `{"error"`, `{"own": 1, "error"`},
		{"in the error object", `"type"`, `"own": {"a": null}, "type"`},
		{"in an entry of errors", `{"code": "own"`, `{"own": [], "code": "own"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(envelope, row.old, row.with, 1)
			require.NoError(t, schema(t, "custom").Validate(value(t, []byte(text))), text)
		})
	}
}

func TestSchemaRefusesWhatNoRendererSends(t *testing.T) {
	t.Parallel()
	s := schema(t, "custom")
	for _, row := range []struct{ name, old, with, at string }{
		{"other member", `"error": {`, `"errors": {`, ""},
		{"null", `{"error"`, `{"error": null, "old"`, "/error"},
		{"text", `{"error"`, `{"error": "failed", "old"`, "/error"},
		{"array", `{"error"`, `{"error": [], "old"`, "/error"},
		{"empty object", `{"error"`, `{"error": {}, "old"`, "/error"},

		{"no type", `"type": "invalid_request_error",`, ``, "/error"},
		{"null as the type", `"invalid_request_error"`, `null`, "/error/type"},
		{"unknown type", `"invalid_request_error"`, `"own_error"`, "/error/type"},
		{"empty type", `"invalid_request_error"`, `""`, "/error/type"},
		{"array of types", `"invalid_request_error"`, `["invalid_request_error"]`, "/error/type"},

		{"no code", `"code": "parameter_missing", "message"`, `"message"`, "/error"},
		{"unknown code", `"code": "parameter_missing"`, `"code": "own"`, "/error/code"},
		{"empty code", `"code": "parameter_missing"`, `"code": ""`, "/error/code"},
		{"number as the code", `"code": "parameter_missing"`, `"code": 400`, "/error/code"},
		{"code in capitals", `"code": "parameter_missing"`, `"code": "PARAMETER_MISSING"`, "/error/code"},

		{"no message", `"message": "Missing required parameter: name.", "param"`, `"param"`, "/error"},
		{"null as the message", `"message": "Missing required parameter: name."`, `"message": null`, "/error/message"},
		{"empty message", `"message": "Missing required parameter: name."`, `"message": ""`, "/error/message"},
		{"object as the message", `"message": "Missing required parameter: name."`, `"message": {}`, "/error/message"},

		{"null as the param", `"param": "name",`, `"param": null,`, "/error/param"},
		{"empty param", `"param": "name",`, `"param": "",`, "/error/param"},
		{"array of params", `"param": "name",`, `"param": ["name"],`, "/error/param"},

		{"no request id", `"request_id": "req_Hd92kLpQ7mXw3TzB",`, ``, "/error"},
		{"empty request id", `"req_Hd92kLpQ7mXw3TzB"`, `""`, "/error/request_id"},
		{"number as the request id", `"req_Hd92kLpQ7mXw3TzB"`, `1`, "/error/request_id"},

		{"null as the link", `"https://api.example.com/docs/errors#parameter_missing"`, `null`, "/error/doc_url"},
		{"empty link", `"https://api.example.com/docs/errors#parameter_missing"`, `""`, "/error/doc_url"},

		{"null as errors", `"errors"`, `"errors": null, "old"`, "/error/errors"},
		{"object as errors", `"errors"`, `"errors": {}, "old"`, "/error/errors"},
		{"text as an entry", `{"code": "own"`, `"own", {"code": "own"`, "/error/errors/1"},
		{"entry without a code", `{"code": "own", `, `{`, "/error/errors/1"},
		{"entry without a param", `"param": "", `, ``, "/error/errors/1"},
		{"entry without a message", `, "message": ""}`, `}`, "/error/errors/1"},
		{"null as an entry's code", `"code": "own"`, `"code": null`, "/error/errors/1/code"},
		{"null as an entry's param", `"param": "", `, `"param": null, `, "/error/errors/1/param"},
		{"number as an entry's message", `"message": ""`, `"message": 1`, "/error/errors/1/message"},

		{"null as metadata", `"metadata"`, `"metadata": null, "old"`, "/error/metadata"},
		{"array as metadata", `"metadata"`, `"metadata": [], "old"`, "/error/metadata"},
		{"number in metadata", `"read"`, `1`, "/error/metadata/scope"},
		{"null in metadata", `"read"`, `null`, "/error/metadata/scope"},
		{"object in metadata", `"read"`, `{}`, "/error/metadata/scope"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(envelope, row.old, row.with, 1)
			require.NotEqual(t, envelope, text)
			err := s.Validate(value(t, []byte(text)))
			var invalid *jsonschema.ValidationError
			require.ErrorAs(t, err, &invalid, "%s", text)
			require.Equal(t, row.at, strings.Join(places(invalid), " "), "%v", err)
		})
	}
	require.Error(t, s.Validate(value(t, []byte(`[]`))))
}

func TestSchemaRefusesCodeWithAnotherType(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		s, defs := schema(t, catalog), definitions(t, catalog)
		for _, d := range defs {
			for _, other := range defs {
				text := fmt.Sprintf(`{"error": {"type": %q, "code": %q, "message": "x", "request_id": "req_1"}}`, string(other.Type), string(d.Code))
				err := s.Validate(value(t, []byte(text)))
				require.Equal(t, d.Type == other.Type, err == nil, "%s: %v", text, err)
			}
		}
	}
}

// places returns the places in a body that an error is about, without those in a oneOf, which has
// an error for each type.
func places(err *jsonschema.ValidationError) []string {
	if len(err.Causes) == 0 {
		return []string{strings.Join(append([]string{""}, err.InstanceLocation...), "/")}
	}
	if _, ok := err.ErrorKind.(*kind.OneOf); ok {
		return nil
	}
	var all []string
	for _, cause := range err.Causes {
		all = append(all, places(cause)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A schema of one service refuses what another one, with more codes, sends.
func TestSchemaRefusesCodesOfOtherCatalogs(t *testing.T) {
	t.Parallel()
	core, builtin, rd := schema(t, "core"), schema(t, "builtin"), renderer(t, "custom")
	for _, d := range definitions(t, "custom") {
		text := body(t, send(rd, d))
		_, isBuiltin := apierror.DefaultCatalog().Lookup(d.Code)
		_, isCore := apierror.CoreCatalog().Lookup(d.Code)
		require.Equal(t, isBuiltin, builtin.Validate(value(t, text)) == nil, d.Code)
		require.Equal(t, isCore, core.Validate(value(t, text)) == nil, d.Code)
	}
}

func TestSchemaOfEmptyCatalogRefusesEveryError(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("errors.schema.json", value(t, render(t, []byte(`{"version": 1, "codes": []}`), reference.FormatJSONSchema))))
	s, err := c.Compile("errors.schema.json")
	require.NoError(t, err)
	require.Error(t, s.Validate(value(t, []byte(envelope))))
}
