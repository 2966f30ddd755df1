package frameworks_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks"
)

// item is a body with parameters at several depths.
type item struct {
	SKU   string `json:"sku" minLength:"2"`
	Count int8   `json:"count"`
	Page  string `json:"page,omitempty" format:"uri"`
}

type humaOrder struct {
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Since string `query:"since" format:"uri"`
	Shop  string `header:"X-Shop" required:"true"`
	Body  struct {
		Items []item `json:"items"`
		Kind  string `json:"kind,omitempty"`
	}
}

// Resolve is huma's way to check a request in code.
func (o *humaOrder) Resolve(huma.Context) []error {
	switch o.Body.Kind {
	case "ours":
		return []error{frameworks.NameTaken.New().WithParam("kind")}
	case "any":
		return []error{errors.New("SECRET")}
	case "huma's":
		return []error{&huma.ErrorDetail{Location: "body.kind", Message: "is odd: SECRET", Value: "SECRET"}}
	}
	return nil
}

type none struct{}

// serveHuma serves the operations that register adds.
func serveHuma(register func(huma.API), set ...func(*huma.Config)) func(*frameworks.Service, *seawall.Stack) http.Handler {
	return func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
		config := huma.DefaultConfig("Test", "1")
		for _, f := range set {
			f(&config)
		}
		mux := http.NewServeMux()
		register(frameworks.NewHumaAPI(mux, config))
		return stack.Handler(mux)
	}
}

// requireHolds runs a check with one handler.
func requireHolds(t *testing.T, handler func(*frameworks.Service, *seawall.Stack) http.Handler, check func(*server)) {
	t.Helper()
	require.Empty(t, httpCase{check: check}.try(t, framework{handler: handler}))
}

func TestHumaNamesTheParametersAtFault(t *testing.T) {
	t.Parallel()
	orders := serveHuma(func(api huma.API) {
		huma.Post(api, "/orders", func(context.Context, *humaOrder) (*none, error) { return &none{}, nil })
	})
	const valid = `{"items":[{"sku":"ab","count":1}]}`
	for name, row := range map[string]struct {
		query, shop, body string
		code              apierror.Code
		params            []string
	}{
		"valid":             {shop: "1", body: valid},
		"query, type":       {query: "limit=SECRET", shop: "1", body: valid, code: apierror.CodeParameterInvalid, params: []string{"limit"}},
		"query, range":      {query: "limit=101", shop: "1", body: valid, code: apierror.CodeParameterInvalid, params: []string{"limit"}},
		"query, format":     {query: "since=:SECRET", shop: "1", body: valid, code: apierror.CodeParameterInvalid, params: []string{"since"}},
		"header, missing":   {body: valid, code: apierror.CodeParameterMissing, params: []string{"X-Shop"}},
		"body, missing":     {shop: "1", body: `{}`, code: apierror.CodeParameterMissing, params: []string{"items"}},
		"body, nested":      {shop: "1", body: `{"items":[{"sku":"ab","count":1},{"count":1}]}`, code: apierror.CodeParameterMissing, params: []string{"items[1].sku"}},
		"body, short":       {shop: "1", body: `{"items":[{"sku":"a","count":1}]}`, code: apierror.CodeParameterInvalid, params: []string{"items[0].sku"}},
		"body, unknown":     {shop: "1", body: `{"items":[],"SECRE":"SECRET"}`, code: apierror.CodeParameterInvalid, params: []string{"SECRE"}},
		"body, format":      {shop: "1", body: `{"items":[{"sku":"ab","count":1,"page":":SECRET"}]}`, code: apierror.CodeParameterInvalid, params: []string{"items[0].page"}},
		"body, an array":    {shop: "1", body: `["SECRET"]`, code: apierror.CodeParameterInvalid, params: []string{""}},
		"body, not JSON":    {shop: "1", body: `SECRET`, code: apierror.CodeParameterInvalid, params: []string{""}},
		"body, range":       {shop: "1", body: `{"items":[{"sku":"ab","count":300}]}`, code: apierror.CodeParameterInvalid, params: []string{""}},
		"resolver, ours":    {shop: "1", body: `{"items":[],"kind":"ours"}`, code: "name_taken", params: []string{"kind"}},
		"resolver, huma's":  {shop: "1", body: `{"items":[],"kind":"huma's"}`, code: apierror.CodeParameterInvalid, params: []string{"kind"}},
		"resolver, any":     {shop: "1", body: `{"items":[],"kind":"any"}`, code: apierror.CodeParameterInvalid, params: []string{""}},
		"several":           {query: "limit=0", body: `{"items":[{"sku":"a","count":"SECRET"}]}`, code: apierror.CodeParameterInvalid, params: []string{"limit", "X-Shop", "items[0].count", "items[0].sku"}},
		"query and no body": {query: "limit=0", shop: "1", code: apierror.CodeParameterMissing, params: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireHolds(t, orders, func(s *server) {
				r := request{method: http.MethodPost, path: "/orders?" + row.query, body: row.body}.with("X-Shop", row.shop)
				resp := s.send(r)
				require.NotContains(s, resp.body, "SECRET")
				if row.code == "" {
					require.Equal(s, http.StatusNoContent, resp.status, resp.body)
					return
				}
				status := http.StatusBadRequest
				if row.code == frameworks.NameTaken.Code {
					status = http.StatusConflict
				}
				e := s.requireError(resp, status, row.code)
				require.Equal(s, row.params[0], e.Param)
				var all struct{ Error struct{ Errors []failure } }
				require.NoError(s, json.Unmarshal([]byte(resp.body), &all))
				var params []string
				for _, f := range all.Error.Errors {
					params = append(params, f.Param)
				}
				if len(row.params) > 1 {
					require.ElementsMatch(s, row.params, params)
				}
			})
		})
	}
}

type humaFault struct {
	Kind string `path:"kind"`
}

// fault is a handler that fails in the ways that huma has.
func fault(_ context.Context, in *humaFault) (*none, error) {
	switch in.Kind {
	case "404":
		return nil, huma.Error404NotFound("There is no such order.")
	case "404 with a cause":
		return nil, huma.Error404NotFound("There is no such order.", errors.New("SECRET"))
	case "404 with a code":
		return nil, huma.Error404NotFound("There is no such order.", frameworks.NameTaken)
	case "500 with a cause":
		return nil, huma.Error500InternalServerError("SECRET", errors.New("SECRET"))
	case "409":
		return nil, huma.Error409Conflict("The order is paid.")
	case "503":
		return nil, huma.Error503ServiceUnavailable("SECRET is down")
	case "header":
		return nil, huma.ErrorWithHeaders(frameworks.NameTaken, http.Header{"X-Hint": {"rename"}})
	case "wrapped":
		return nil, errors.Join(errors.New("SECRET"), frameworks.NameTaken)
	case "text":
		return nil, errors.New("SECRET")
	case "304":
		return nil, huma.Status304NotModified()
	}
	return &none{}, nil
}

func TestErrorsOfHumaHandlersAreErrorObjects(t *testing.T) {
	t.Parallel()
	faults := serveHuma(func(api huma.API) { huma.Get(api, "/faults/{kind}", fault) })
	for kind, want := range map[string]struct {
		status  int
		code    apierror.Code
		message string
	}{
		"404":              {404, apierror.CodeResourceMissing, "There is no such order."},
		"404 with a cause": {404, apierror.CodeResourceMissing, "There is no such order."},
		"404 with a code":  {409, "name_taken", "Another resource has this name."},
		"500 with a cause": {500, apierror.CodeAPIError, "An unexpected error occurred on our side."},
		"409":              {400, apierror.CodeParameterInvalid, "The order is paid."},
		"503":              {503, apierror.CodeServiceUnavailable, apierror.CodeServiceUnavailable.New().Message()},
		"header":           {409, "name_taken", "Another resource has this name."},
		"wrapped":          {409, "name_taken", "Another resource has this name."},
		"text":             {500, apierror.CodeAPIError, "An unexpected error occurred on our side."},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			requireHolds(t, faults, func(s *server) {
				resp := s.send(get("/faults/" + url.PathEscape(kind)))
				require.Equal(s, want.message, s.requireError(resp, want.status, want.code).Message)
				require.Equal(s, want.code, s.access().Code)
				require.Equal(s, want.status >= 500, strings.Contains(s.logs.String(), "SECRET"), "the log has the causes of a 5xx")
				require.Equal(s, kind == "header", resp.header.Get("X-Hint") == "rename")
			})
		})
	}
}

func TestHumaStatusThatIsNoErrorIsSent(t *testing.T) {
	t.Parallel()
	requireHolds(t, serveHuma(func(api huma.API) { huma.Get(api, "/faults/{kind}", fault) }), func(s *server) {
		resp := s.send(get("/faults/304"))
		require.Equal(s, http.StatusNotModified, resp.status)
		require.Empty(s, resp.body)
	})
}

func TestHumaRefusesLargeBodiesItself(t *testing.T) {
	t.Parallel()
	limited := serveHuma(func(api huma.API) {
		huma.Post(api, "/v1/resources", func(context.Context, *struct{ Body frameworks.NewResource }) (*none, error) {
			return &none{}, nil
		}, func(op *huma.Operation) { op.MaxBodyBytes = 1000 })
	})
	requireHolds(t, limited, func(s *server) {
		e := s.requireError(s.send(large()), 413, apierror.CodeRequestTooLarge)
		require.Contains(s, e.Message, "1000")
	})
}

func TestHumaLeavesTheSizeOfBodiesToTheStack(t *testing.T) {
	t.Parallel()
	c := httpCase{
		set: func(stack *seawall.Stack) { stack.MaxBody = 4 << 20 },
		check: func(s *server) {
			s.requireCreated(s.send(create(`{"name":"` + strings.Repeat("a", 2<<20) + `"}`)))
		},
	}
	require.Empty(t, c.try(t, framework{handler: frameworks.Huma}))
}

// huma chooses the format of a response after the handler has run, and panics when it has sent the
// 406.
func TestHumaCannotRefuseFormats(t *testing.T) {
	t.Parallel()
	for name, strict := range map[string]bool{"by default": false, "NoFormatFallback": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			formats := serveHuma(func(api huma.API) {
				huma.Get(api, "/", func(context.Context, *none) (*struct{ Body string }, error) {
					return &struct{ Body string }{"text"}, nil
				})
			}, func(c *huma.Config) { c.NoFormatFallback = strict })
			requireHolds(t, formats, func(s *server) {
				resp, err := s.open(s.ctx, get("/").with("Accept", "text/plain"))
				s.await()
				if strict {
					require.Error(s, err)
					require.Len(s, s.lines("seawall: panic"), 1)
					return
				}
				require.NoError(s, err)
				resp.Body.Close()
				require.Equal(s, "application/json", resp.Header.Get("Content-Type"))
			})
		})
	}
}

func TestHumaDocumentHasTheErrorObject(t *testing.T) {
	t.Parallel()
	requireHolds(t, frameworks.Huma, func(s *server) {
		for _, path := range []string{"/openapi.json", "/openapi-3.0.json"} {
			var document struct {
				Paths map[string]map[string]struct {
					Responses map[string]struct {
						Content map[string]struct {
							Schema struct {
								Ref string `json:"$ref"`
							}
						}
					}
				}
				Components struct {
					Schemas map[string]struct {
						Properties map[string]any
						Codes      []string `json:"x-extensible-enum"`
					}
				}
			}
			resp := s.send(get(path))
			require.NoError(s, json.Unmarshal([]byte(resp.body), &document))
			failed := document.Paths["/v1/resources"]["post"].Responses["default"]
			require.Equal(s, "#/components/schemas/ErrorResponse", failed.Content["application/json"].Schema.Ref, path)
			require.Contains(s, document.Components.Schemas["ErrorResponse"].Properties, "error", path)
			require.Contains(s, document.Components.Schemas["ErrorObject"].Properties, "request_id", path)
			require.Contains(s, document.Components.Schemas["ErrorCode"].Codes, "name_taken", path)
		}
		require.Contains(s, s.send(get("/openapi.yaml")).body, "name_taken")
	})
}

func TestHumaEventsPassTheStack(t *testing.T) {
	t.Parallel()
	events := serveHuma(func(api huma.API) {
		sse.Register(api, huma.Operation{Method: http.MethodGet, Path: "/v1/events"}, map[string]any{"created": frameworks.Resource{}},
			func(ctx context.Context, _ *none, send sse.Sender) {
				_ = send.Data(frameworks.Resource{ID: "res_1", Name: "a"})
				<-ctx.Done()
			})
	})
	requireHolds(t, events, func(s *server) {
		ctx, leave := context.WithCancel(s.ctx)
		defer leave()
		resp, err := s.open(ctx, get("/v1/events"))
		require.NoError(s, err)
		defer resp.Body.Close()
		want := "event: created\ndata: {\"id\":\"res_1\",\"name\":\"a\"}\n\n"
		got := make([]byte, len(want))
		_, err = io.ReadFull(resp.Body, got)
		require.NoError(s, err)
		require.Equal(s, want, string(got))
		leave()
		s.await()
		require.Equal(s, http.StatusOK, s.access().Status)
	})
}
