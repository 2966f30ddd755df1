package frameworks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/oapi-codegen/runtime"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/examples/frameworks"
	"github.com/seawall-go/seawall/examples/frameworks/resourcesapi"
)

func TestOapiCodegenNamesTheParametersAtFault(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		request request
		message string
		param   string
	}{
		"path":             {get("/v1/resources/SECRET"), "Invalid parameter: id must begin with res_.", "id"},
		"body, wrong type": {create(`{"name":{"SECRET":1}}`), "Invalid parameter: name has the wrong type.", "name"},
		"body, an array":   {create(`["SECRET"]`), "The request body has the wrong type.", ""},
		"body, cut short":  {create(`{"name":"SECRET`), "The request body is not valid JSON.", ""},
		"body, not JSON":   {create(`SECRET`), "The request body is not valid JSON.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireHolds(t, frameworks.OapiCodegen, func(s *server) {
				resp := s.send(row.request)
				require.NotContains(s, resp.body, "SECRET")
				e := s.requireError(resp, http.StatusBadRequest, apierror.CodeParameterInvalid)
				require.Equal(s, row.message, e.Message)
				require.Equal(s, row.param, e.Param)
			})
		})
	}
}

func TestErrorsOfGeneratedCodeAreAboutParameters(t *testing.T) {
	t.Parallel()
	secret := runtime.BindQueryParameterWithOptions("form", true, false, "p", url.Values{"p": {"SECRET"}}, new(int), runtime.BindQueryParameterOptions{Type: "integer"})
	require.ErrorContains(t, secret, "SECRET")
	for _, row := range []struct {
		err  error
		code apierror.Code
	}{
		{&resourcesapi.RequiredParamError{ParamName: "p"}, apierror.CodeParameterMissing},
		{&resourcesapi.RequiredHeaderError{ParamName: "p", Err: secret}, apierror.CodeParameterMissing},
		{&resourcesapi.InvalidParamFormatError{ParamName: "p", Err: secret}, apierror.CodeParameterInvalid},
		{&resourcesapi.UnmarshalingParamError{ParamName: "p", Err: secret}, apierror.CodeParameterInvalid},
		{&resourcesapi.UnescapedCookieParamError{ParamName: "p", Err: secret}, apierror.CodeParameterInvalid},
		{&resourcesapi.TooManyValuesForParamError{ParamName: "p", Count: 2}, apierror.CodeParameterInvalid},
	} {
		e := apierror.From(frameworks.OapiParameterError(row.err))
		require.Equal(t, row.code, e.Code(), "%T", row.err)
		require.Equal(t, "p", e.Param(), "%T", row.err)
		require.NotContains(t, e.Message(), "SECRET", "%T", row.err)
	}
	ours := apierror.ParameterInvalid("items[0]", "is odd")
	require.Equal(t, ours.Message(), apierror.From(frameworks.OapiParameterError(&resourcesapi.InvalidParamFormatError{ParamName: "p", Err: ours})).Message())
	unknown := errors.New("another")
	require.Equal(t, unknown, frameworks.OapiParameterError(unknown))
}

// Types such as time.Time decode themselves.
func TestBodyThatAMemberRefusesIsTheClientsFault(t *testing.T) {
	t.Parallel()
	var body struct{ At time.Time }
	err := json.Unmarshal([]byte(`{"at":"SECRET"}`), &body)
	require.ErrorContains(t, err, "SECRET")
	e := apierror.From(frameworks.OapiBodyError(fmt.Errorf("can't decode JSON body: %w", err)))
	require.Equal(t, apierror.CodeParameterInvalid, e.Code())
	require.NotContains(t, e.Message(), "SECRET")
	large := apierror.From(frameworks.OapiBodyError(&http.MaxBytesError{Limit: 1}))
	require.Equal(t, apierror.CodeRequestTooLarge, large.Code())
}

// The generated code decodes with encoding/json, which apierror.DecodeJSON is stricter than.
func TestOapiCodegenIgnoresUnknownMembers(t *testing.T) {
	t.Parallel()
	requireHolds(t, frameworks.OapiCodegen, func(s *server) {
		s.requireCreated(s.send(create(`{"name":"a","nam":"b"} and more`)))
	})
}

func TestDocumentRefersToTheCurrentErrors(t *testing.T) {
	t.Parallel()
	want, err := reference.New(apierror.DefaultCatalog(), nil).Render(reference.FormatOpenAPI)
	require.NoError(t, err)
	got, err := os.ReadFile("resourcesapi/errors.openapi.json")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run go generate ./resourcesapi")
}
