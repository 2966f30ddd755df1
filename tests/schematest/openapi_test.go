package schematest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// checked returns a document that is valid in itself, with its examples.
func checked(t testing.TB, text []byte) (*openapi3.T, error) {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	return document, document.Validate(t.Context(), openapi3.EnableExamplesValidation())
}

func TestOpenAPIDocumentIsValid(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		document, err := checked(t, render(t, exported(t, catalog), reference.FormatOpenAPI))
		require.NoError(t, err, catalog)
		require.Equal(t, "3.1.0", document.OpenAPI)
		require.Len(t, document.Components.Examples, len(definitions(t, catalog)))
	}
	document, err := checked(t, render(t, []byte(`{"version": 1, "codes": []}`), reference.FormatOpenAPI))
	require.NoError(t, err, "a catalog without codes")
	require.Len(t, document.Components.Responses, 1)
}

// The other tests rely on a validator that refuses invalid documents.
func TestValidatorRefusesBrokenOpenAPIDocuments(t *testing.T) {
	t.Parallel()
	text := string(render(t, exported(t, "custom"), reference.FormatOpenAPI))
	for _, row := range []struct{ name, old, with string }{
		{"no version", `"version": "1.0.0"`, `"old": "1.0.0"`},
		{"number as the title", `"title": "Payments API errors"`, `"title": 1`},
		{"response without a description", `"description": "The request failed."`, `"old": ""`},
		{"reference to no schema", `#/components/schemas/ErrorObject`, `#/components/schemas/None`},
		{"reference to no example", `#/components/examples/card_declined`, `#/components/examples/none`},
		{"reference to no header", `#/components/headers/Allow`, `#/components/headers/None`},
		{"unknown type", `"type": "object"`, `"type": "objekt"`},
		{"text as a length", `"minLength": 1`, `"minLength": "1"`},
		{"unknown member of a response", `"content": {`, `"contents": {`},
		{"name with a space", `"Error404": {`, `"Error 404": {`},
		{"example without a message", `"message": "The card was declined."`, `"old": ""`},
		{"example with a number", `"message": "The card was declined."`, `"message": 1`},
		{"example without an error", `"error": {
            "type": "idempotency_error"`, `"old": {
            "type": "idempotency_error"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			broken := strings.Replace(text, row.old, row.with, 1)
			require.NotEqual(t, text, broken)
			_, err := checked(t, []byte(broken))
			require.Error(t, err)
		})
	}
}

// api returns the document of an API that refers to the responses of a catalog, and its only route.
func api(t *testing.T, catalog string) (*openapi3.T, *routers.Route) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("testdata/api.openapi.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "api.openapi.json"), text, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "errors.openapi.json"), render(t, exported(t, catalog), reference.FormatOpenAPI), 0o600))
	loader := openapi3.NewLoader()
	loader.IsExternalRefsAllowed = true
	document, err := loader.LoadFromFile(filepath.Join(dir, "api.openapi.json"))
	require.NoError(t, err)
	path := document.Paths.Value("/v1/payments")
	return document, &routers.Route{Spec: document, Path: "/v1/payments", PathItem: path, Method: http.MethodPost, Operation: path.Post}
}

// conforms checks a response against the document of its API.
func conforms(t *testing.T, route *routers.Route, resp *http.Response) error {
	t.Helper()
	return openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: httptest.NewRequest(http.MethodPost, "/v1/payments", http.NoBody),
			Route:   route,
		},
		Status:  resp.StatusCode,
		Header:  resp.Header,
		Body:    resp.Body,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

func TestDocumentOfAPIMayReferToResponses(t *testing.T) {
	t.Parallel()
	for _, catalog := range []string{"builtin", "custom", "hostile"} {
		t.Run(catalog, func(t *testing.T) {
			t.Parallel()
			document, route := api(t, catalog)
			require.NoError(t, document.Validate(t.Context(), openapi3.EnableExamplesValidation()))
			rd := renderer(t, catalog)
			for _, d := range definitions(t, catalog) {
				full := d.New().WithParam("a").WithField(apierror.Field{Code: "own", Param: "b"}).WithMetadata("c", "d")
				require.NoError(t, conforms(t, route, send(rd, d)), d.Code)
				require.NoError(t, conforms(t, route, send(rd, full)), d.Code)
			}
			own := apierror.Definition{Code: "added_later", Type: apierror.TypeAPI, Status: 503, Message: "x"}
			require.NoError(t, conforms(t, route, send(rd, own)), "a code that was added later")
		})
	}
}

func TestBrokenResponsesDoNotConform(t *testing.T) {
	t.Parallel()
	_, route := api(t, "custom")
	for _, row := range []struct {
		name string
		edit func(*http.Response)
	}{
		{"success with an error's status", func(r *http.Response) { r.Body = io.NopCloser(strings.NewReader(`{"id": 1}`)) }},
		{"text", func(r *http.Response) { r.Header.Set("Content-Type", "text/plain") }},
		{"number as the code", func(r *http.Response) {
			text := bytes.ReplaceAll(body(t, r), []byte(`"authentication_failed"`), []byte(`1`))
			r.Body = io.NopCloser(bytes.NewReader(text))
		}},
		{"no request id", func(r *http.Response) { r.Header.Del("Request-Id") }},
		{"no challenge", func(r *http.Response) { r.Header.Del("WWW-Authenticate") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			resp := send(renderer(t, "custom"), apierror.CodeAuthenticationFailed)
			row.edit(resp)
			require.Error(t, conforms(t, route, resp))
		})
	}
}

// The headers in a response's description are those that it has.
func TestResponsesDescribeTheHeadersThatAreSent(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		document, err := checked(t, render(t, exported(t, catalog), reference.FormatOpenAPI))
		require.NoError(t, err)
		rd := renderer(t, catalog)
		for _, d := range definitions(t, catalog) {
			described := document.Components.Responses[fmt.Sprintf("Error%d", d.Status)].Value.Headers
			inDefault := document.Components.Responses["Error"].Value.Headers
			sent := send(rd, d).Header
			if waits := send(rd, d.New().WithRetryAfter(time.Second)).Header; waits.Get("Retry-After") != "" {
				require.Contains(t, described, "Retry-After", d.Code)
			}
			for name, header := range document.Components.Headers {
				_, isDescribed := described[name]
				_, isInDefault := inDefault[name]
				switch {
				case len(sent.Values(name)) > 0:
					require.True(t, isDescribed, "%s has %s", d.Code, name)
					require.NotEqual(t, name == "Allow" || name == "WWW-Authenticate", isInDefault, name)
				case isDescribed, isInDefault:
					require.False(t, header.Value.Required, "%s has no %s", d.Code, name)
				}
			}
		}
	}
}

func TestEachCodeIsExampleOfItsStatus(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		document, err := checked(t, render(t, exported(t, catalog), reference.FormatOpenAPI))
		require.NoError(t, err)
		statuses := make(map[string]int)
		for _, d := range definitions(t, catalog) {
			name := fmt.Sprintf("Error%d", d.Status)
			statuses[name]++
			for _, name := range []string{name, "Error"} {
				media := document.Components.Responses[name].Value.Content["application/json"]
				require.Contains(t, media.Examples, string(d.Code))
				object := media.Examples[string(d.Code)].Value.Value.(map[string]any)["error"].(map[string]any)
				require.Equal(t, string(d.Code), object["code"])
				require.Equal(t, string(d.Type), object["type"])
			}
		}
		require.Len(t, document.Components.Responses, len(statuses)+1)
		for name, n := range statuses {
			require.Len(t, document.Components.Responses[name].Value.Content["application/json"].Examples, n)
		}
	}
}
