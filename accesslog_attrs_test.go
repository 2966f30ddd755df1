package seawall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

func TestAccessLogAttrs(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		attrs func(*http.Request) []slog.Attr
		want  map[string]any
	}{
		"nil":  {nil, map[string]any{}},
		"none": {func(*http.Request) []slog.Attr { return nil }, map[string]any{}},
		"some": {
			func(r *http.Request) []slog.Attr {
				return []slog.Attr{slog.String("path", r.URL.Path), slog.Int("n", 1)}
			},
			map[string]any{"path": "/", "n": 1.},
		},
		"panics": {func(*http.Request) []slog.Attr { panic("hook") }, map[string]any{"attrs_panic": "hook"}},
		"panics with a value that fmt cannot print": {
			func(*http.Request) []slog.Attr { panic(panickyError{}) },
			map[string]any{"attrs_panic": "(a seawall_test.panickyError that panics when it is printed)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			h := seawall.AccessLog(&seawall.AccessLogOptions{Logger: logs.logger(), Attrs: row.attrs})(ok)
			require.Equal(t, "ok", serveOne(h, nil).Body.String())
			line := logs.access(t)[0]
			for _, key := range []string{"method", "pattern", "status", "bytes", "request_id"} {
				require.Contains(t, line, key)
				delete(line, key)
			}
			require.Equal(t, row.want, line)
		})
	}
}

// Values without unsafe characters are logged as slog alone would log them.
func TestAttrsOfEveryKindAreLogged(t *testing.T) {
	t.Parallel()
	type thing struct {
		ID    int      `json:"id"`
		Names []string `json:"names"`
	}
	group := []any{slog.String("a", "b\n"), slog.Any("in", ownLogValue{slog.GroupValue(slog.Int("n", 1))})}
	shared := slog.Group("group", group...)
	for name, row := range map[string]struct {
		attr slog.Attr
		want any // as JSON
	}{
		"string":            {slog.String("x", "a b"), "a b"},
		"nothing":           {slog.Any("x", nil), nil},
		"bool":              {slog.Any("x", true), true},
		"float":             {slog.Float64("x", 1.5), 1.5},
		"own bool":          {slog.Any("x", struct{ B bool }{true}), map[string]any{"B": true}},
		"strings":           {slog.Any("x", []string{"a", "b\n"}), []any{"a", "b "}},
		"struct":            {slog.Any("x", thing{7, []string{"a"}}), map[string]any{"id": 7., "names": []any{"a"}}},
		"map":               {slog.Any("x", map[string]any{"a\n": 1.5}), map[string]any{"a ": 1.5}},
		"error":             {slog.Any("x", errors.New("a\nb")), "a b"},
		"nil error":         {slog.Any("x", (*json.SyntaxError)(nil)), "<nil>"},
		"stringer":          {slog.Any("x", ownStringer("a\nb")), "a b"},
		"text":              {slog.Any("x", ownText("a\nb")), "a b"},
		"json":              {slog.Any("x", ownJSON("a\nb")), []any{"a b"}},
		"not json":          {slog.Any("x", func() {}), "!ERROR:json: unsupported type: func()"},
		"unprintable":       {slog.Any("x", panickyError{}), "(a seawall_test.panickyError that panics when it is printed)"},
		"valuer":            {slog.Any("x", ownLogValue{slog.IntValue(3)}), 3.},
		"group":             {slog.Attr{Key: "x", Value: shared.Value}, map[string]any{"a": "b ", "in": map[string]any{"n": 1.}}},
		"an inlined group":  {slog.Attr{Value: slog.GroupValue(slog.String("x", "a"))}, "a"},
		"exactly the bound": {slog.String("x", strings.Repeat("x", 1<<10)), strings.Repeat("x", 1<<10)},
		"over the bound":    {slog.String("x", strings.Repeat("x", 1<<10+1)), strings.Repeat("x", 1<<10) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: func(*http.Request) []slog.Attr { return []slog.Attr{row.attr} }}}
			serveOne(stack.Handler(ok), nil)
			line := logs.access(t)[0]
			require.Contains(t, line, "x")
			require.Equal(t, row.want, line["x"])
		})
	}
	var logs logs
	numbers := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: func(*http.Request) []slog.Attr {
		return []slog.Attr{slog.Any("x", []any{uint64(1<<64 - 1), int64(-1 << 63), 1e300, json.Number("12345678901234567890123")})}
	}}}
	serveOne(numbers.Handler(ok), nil)
	require.Contains(t, logs.String(), `"x":[18446744073709551615,-9223372036854775808,1e+300,12345678901234567890123]`)
	require.Equal(t, "b\n", shared.Value.Group()[0].Value.String(), "the service's own group was changed")
}

// attrs_cut says that something was left out.
func TestLongAttrsAreLeftOut(t *testing.T) {
	t.Parallel()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("%05d", i)
	}
	keys := make(map[string]bool)
	for _, key := range many {
		keys[key] = true
	}
	var attrs []slog.Attr
	for _, key := range many {
		attrs = append(attrs, slog.Bool(key, true))
	}
	first := slog.Bool("first", true)
	log := func(attrs ...slog.Attr) (line map[string]any, text string) {
		var logs logs
		stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: func(*http.Request) []slog.Attr { return attrs }}}
		serveOne(stack.Handler(ok), nil)
		require.Less(t, len(logs.String()), 32<<10)
		line = logs.access(t)[0]
		require.Equal(t, true, line["first"])
		return line, logs.String()
	}

	line, _ := log(append([]slog.Attr{first}, attrs...)...)
	require.Equal(t, true, line["attrs_cut"])
	require.Contains(t, line, "00500")
	require.NotContains(t, line, "01000")

	line, _ = log(first, slog.Attr{Key: "group", Value: slog.GroupValue(attrs...)}, slog.Bool("last", true))
	require.Equal(t, true, line["group"].(map[string]any)["attrs_cut"])
	require.Equal(t, true, line["attrs_cut"])
	require.NotContains(t, line, "last")

	line, _ = log(first, slog.Any("map", keys))
	require.Equal(t, true, line["map"].(map[string]any)["attrs_cut"])
	require.Contains(t, line["map"], "00500")
	require.NotContains(t, line["map"], "01000")

	line, _ = log(first, slog.Any("slice", many))
	slice := line["slice"].([]any)
	require.Equal(t, "…", slice[len(slice)-1])
	require.Equal(t, "00500", slice[500])
	require.Less(t, len(slice), 1000)

	_, text := log(first, slog.Any("endless", endlessGroup{"endless"}))
	require.Contains(t, text, `"attrs_cut":true`)
}

func TestAccessLogCutsLongValues(t *testing.T) {
	t.Parallel()
	code := func(n int) apierror.Code { return apierror.Code(strings.Repeat("c", n)) }
	for name, row := range map[string]struct {
		key      string
		semantic bool
		most     int
		serve    func(n int) (http.Handler, *http.Request)
	}{
		"pattern": {"pattern", false, 256, func(n int) (http.Handler, *http.Request) {
			return plain(func(_ http.ResponseWriter, r *http.Request) { seawall.SetPattern(r, strings.Repeat("p", n)) }), nil
		}},
		"code": {"code", false, 64, func(n int) (http.Handler, *http.Request) {
			return failing(nil, code(n)), nil
		}},
		"late_code": {"late_code", false, 64, func(n int) (http.Handler, *http.Request) {
			return failing(whole, code(n)), nil
		}},
		"method": {"method", false, 32, func(n int) (http.Handler, *http.Request) {
			return ok, httptest.NewRequest(strings.Repeat("M", n), "/", nil)
		}},
		"original method": {"http.request.method_original", true, 32, func(n int) (http.Handler, *http.Request) {
			return ok, httptest.NewRequest(strings.Repeat("M", n), "/", nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n, ends := range map[int]bool{row.most: false, row.most + 1: true} {
				var logs logs
				h, r := row.serve(n)
				if r == nil {
					r = httptest.NewRequest(http.MethodGet, "/", nil)
				}
				(&seawall.Stack{
					Logger: logs.logger(), Renderer: &apierror.Renderer{Logger: discard}, AccessLog: &seawall.AccessLogOptions{SemanticNames: row.semantic},
				}).Handler(h).ServeHTTP(httptest.NewRecorder(), r)
				got := requestLine(t, &logs)[row.key].(string)
				require.Equal(t, ends, strings.HasSuffix(got, "…"))
				require.Len(t, strings.TrimSuffix(got, "…"), row.most)
			}
		})
	}
}

func TestSemanticNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ method, known, original any }{
		{http.MethodGet, "GET", nil}, {http.MethodPatch, "PATCH", nil}, {"BREW", "_OTHER", "BREW"}, {"get", "_OTHER", "get"},
	} {
		var logs logs
		stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{SemanticNames: true}}
		r := httptest.NewRequest(http.MethodGet, "/v1/things/17", nil)
		r.Method = row.method.(string)
		stack.Handler(mux("/v1/things/{id}", failing(nil, errSecret))).ServeHTTP(httptest.NewRecorder(), r)
		line := requestLine(t, &logs)
		require.Equal(t, row.known, line["http.request.method"])
		require.Equal(t, row.original, line["http.request.method_original"])
		require.Equal(t, "/v1/things/{id}", line["http.route"])
		require.InDelta(t, 500, line["http.response.status_code"], 0)
		require.Positive(t, line["http.response.body.size"])
		require.GreaterOrEqual(t, line["http.server.request.duration"], 0.)
		require.Less(t, line["http.server.request.duration"], 60.)
		require.Equal(t, "api_error", line["error.type"])
		for _, key := range []string{"method", "pattern", "status", "bytes", "duration", "code"} {
			require.NotContains(t, line, key)
		}
	}
}

func TestSemanticNamesOfKnownMethods(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY"} {
		var logs logs
		(&seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{SemanticNames: true}}).Handler(ok).ServeHTTP(
			httptest.NewRecorder(), httptest.NewRequest(method, "/", nil))
		line := requestLine(t, &logs)
		require.Equal(t, method, line["http.request.method"])
		require.NotContains(t, line, "http.request.method_original")
	}
}

func TestSemanticRouteHasNoMethod(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"GET /v1/things/{id}":            "/v1/things/{id}",
		"GET   /v1/things/{id}":          "/v1/things/{id}",
		"/v1/things/{id}":                "/v1/things/{id}",
		"GET api.example/v1/things/{id}": "api.example/v1/things/{id}",
		"api.example/v1/things/{id}":     "api.example/v1/things/{id}",
		"/v1/two words/{id}":             "/v1/two words/{id}",
		"GET /v1/two words/{id}":         "/v1/two words/{id}",
		"things":                         "things",
		"GET ~things":                    "~things",
		"":                               "",
	} {
		var logs logs
		stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{SemanticNames: true}}
		serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) { seawall.SetPattern(r, pattern) })), nil)
		require.Equal(t, want, requestLine(t, &logs)["http.route"])
	}
}
