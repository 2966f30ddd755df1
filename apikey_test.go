package seawall_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
)

func TestAPIKey(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		authorization, key []string
		want               string
	}{
		"none":                         {nil, nil, ""},
		"Bearer":                       {[]string{"Bearer sk_1"}, nil, "sk_1"},
		"bearer in weird case":         {[]string{"bEaReR sk_1"}, nil, "sk_1"},
		"spaces":                       {[]string{"  Bearer   sk_1 "}, nil, "sk_1"},
		"Basic":                        {[]string{"Basic c2tfMTpwYXNz"}, nil, "sk_1"},
		"Basic without a password":     {[]string{"basic c2tfMTo="}, nil, "sk_1"},
		"Basic without a user":         {[]string{"Basic OnBhc3M="}, nil, ""},
		"Basic that is no base64":      {[]string{"Basic !"}, nil, ""},
		"X-Api-Key":                    {nil, []string{"sk_1"}, "sk_1"},
		"X-Api-Key with spaces":        {nil, []string{" sk_1 "}, "sk_1"},
		"both":                         {[]string{"Bearer sk_1"}, []string{"sk_1"}, "sk_1"},
		"both, in two schemes":         {[]string{"Bearer sk_1", "Basic c2tfMTo="}, nil, "sk_1"},
		"conflicting":                  {[]string{"Bearer sk_1"}, []string{"sk_2"}, ""},
		"conflicting Authorization":    {[]string{"Bearer sk_1", "Bearer sk_2"}, nil, ""},
		"conflicting X-Api-Key":        {nil, []string{"sk_1", "sk_2"}, ""},
		"conflicting, then the same":   {[]string{"Bearer sk_1", "Bearer sk_2", "Bearer sk_1"}, nil, ""},
		"empty":                        {[]string{""}, []string{""}, ""},
		"empty Bearer":                 {[]string{"Bearer "}, nil, ""},
		"empty beside a key":           {[]string{"Bearer "}, []string{"sk_1"}, "sk_1"},
		"a key beside an empty one":    {[]string{"Bearer sk_1"}, []string{""}, "sk_1"},
		"a key, then an empty one":     {nil, []string{"sk_1", " "}, "sk_1"},
		"base64 that breaks off":       {[]string{"Basic c2tfMTpwYXNz!"}, nil, ""},
		"another scheme":               {[]string{"Digest sk_1"}, nil, ""},
		"another scheme beside a key":  {[]string{"Digest sk_2"}, []string{"sk_1"}, "sk_1"},
		"a scheme that is not cut off": {[]string{"Bearersk_1"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"], r.Header["X-Api-Key"] = row.authorization, row.key
			key, ok := seawall.APIKey(r)
			require.Equal(t, row.want, key)
			require.Equal(t, row.want != "", ok)
		})
	}
}

func TestAccessLogLevels(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "INFO", 404: "WARN", 500: "ERROR"} {
		var logs logs
		stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Level: func(status int) slog.Level {
			switch {
			case status >= 500:
				return slog.LevelError
			case status >= 400:
				return slog.LevelWarn
			default:
				return slog.LevelInfo
			}
		}}}
		serveOne(stack.Handler(plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })), nil)
		require.Contains(t, logs.String(), `"level":"`+want+`","msg":"request"`)
	}
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Level: func(int) slog.Level { panic("bug") }}}
	serveOne(stack.Handler(ok), nil)
	require.Contains(t, logs.String(), `"level":"INFO","msg":"request"`)
}

// The names are those of https://opentelemetry.io/docs/specs/semconv/http/.
func TestAccessLogSemanticNames(t *testing.T) {
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
