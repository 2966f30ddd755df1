package seawall_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// keeper is a slog.Handler that keeps all records, and the contexts that they came with.
type keeper struct {
	level    slog.Level
	records  *[]slog.Record
	contexts *[]context.Context
}

func newKeeper(level slog.Level) keeper {
	return keeper{level, new([]slog.Record), new([]context.Context)}
}

func (k keeper) WithAttrs([]slog.Attr) slog.Handler { return k }
func (k keeper) WithGroup(string) slog.Handler      { return k }

func (k keeper) Enabled(ctx context.Context, level slog.Level) bool {
	*k.contexts = append(*k.contexts, ctx)
	return level >= k.level
}

func (k keeper) Handle(ctx context.Context, record slog.Record) error {
	*k.contexts = append(*k.contexts, ctx)
	*k.records = append(*k.records, record)
	return nil
}

// Handlers of tracing find the span in the context.
func TestRecordsComeWithTheContextOfTheRequest(t *testing.T) {
	t.Parallel()
	type key struct{}
	outside := func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "span")))
		})
	}
	kept := newKeeper(slog.LevelInfo)
	stack := &seawall.Stack{
		Logger:    slog.New(kept),
		RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { panic("hook") }},
	}
	serveOne(outside(stack.Handler(panicking("bug"))), nil)
	require.Len(t, *kept.records, 3)
	for _, ctx := range *kept.contexts {
		require.Equal(t, "span", ctx.Value(key{}))
		require.Regexp(t, requestIDForm, apierror.RequestIDFrom(ctx), "no id in the context")
	}
}

func TestAccessLogRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := newKeeper(slog.LevelInfo)
		h := seawall.AccessLog(&seawall.AccessLogOptions{Logger: slog.New(kept), SemanticNames: true})(
			plain(func(http.ResponseWriter, *http.Request) { time.Sleep(1500 * time.Millisecond) }))
		serveOne(h, nil)
		record := (*kept.records)[0]
		require.Equal(t, time.Now(), record.Time, "a line has the time at which the handler returned")
		require.Zero(t, record.PC, "the line of code is of no use to anyone")
		var keys []string
		record.Attrs(func(a slog.Attr) bool {
			keys = append(keys, a.Key)
			if a.Key == "http.server.request.duration" {
				require.InDelta(t, 1.5, a.Value.Float64(), 0)
			}
			return true
		})
		require.Equal(t, []string{
			"http.request.method", "http.route", "http.response.status_code", "http.response.body.size", "http.server.request.duration",
			"request_id",
		}, keys)
	})
}

// A logger that takes only warnings gets the lines that are one.
func TestAccessLogAsksForTheLevelOfTheLine(t *testing.T) {
	t.Parallel()
	kept := newKeeper(slog.LevelWarn)
	stack := &seawall.Stack{Logger: slog.New(kept), AccessLog: &seawall.AccessLogOptions{Level: func(status int) slog.Level {
		if status >= 400 {
			return slog.LevelWarn
		}
		return slog.LevelInfo
	}}}
	h := stack.Handler(mux("GET /{$}", ok))
	serveOne(h, nil)
	require.Empty(t, *kept.records)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/nothing", nil))
	require.Len(t, *kept.records, 1)
}

func TestAccessLogBounds(t *testing.T) {
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

func TestAccessLogKnowsTheMethodsOfTheConventions(t *testing.T) {
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

// http.route is the pattern without its method.
func TestAccessLogRoutes(t *testing.T) {
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

// ServeMux takes the path of a CONNECT that it redirects for the pattern: paths hold ids.
func TestAccessLogShowsNoPathOfACONNECT(t *testing.T) {
	t.Parallel()
	shop := mux("/v1/things/{id}/", ok)
	for name, row := range map[string]struct {
		stack *seawall.Stack
		h     http.Handler
	}{
		"redirected":            {&seawall.Stack{}, shop},
		"refused":               {&seawall.Stack{Authenticate: authorized("acct_1")}, shop},
		"redirected by another": {&seawall.Stack{}, mux("/", http.RedirectHandler("/", http.StatusMovedPermanently))},
		"at the end of 3xx":     {&seawall.Stack{}, mux("/", plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(399) }))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			row.stack.Logger = logs.logger()
			row.stack.Handler(row.h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodConnect, "/v1/things/hush", nil))
			require.Empty(t, logs.access(t)[0]["pattern"])
		})
	}
}

// A mux inside of another one says the route itself.
func TestAccessLogHasThePatternOfTheInnermostMux(t *testing.T) {
	t.Parallel()
	inner := mux("GET /v1/things/{id}", ok)
	for name, h := range map[string]http.Handler{
		"a mux":                      mux("/v1/", inner),
		"NotFound":                   mux("/v1/", seawall.WrapMux(inner)),
		"a mux below a clone":        cloned(seawall.WrapMux(mux("/v1/", inner))),
		"a mux that panics":          mux("/v1/", mux("GET /v1/things/{id}", panicking("bug"))),
		"a mux below StripPrefix":    mux("/", http.StripPrefix("/v1", seawall.WrapMux(mux("GET /things/{id}", ok)))),
		"a mux below authentication": mux("/v1/", as("acct_1")(inner)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			r := httptest.NewRequest(http.MethodGet, "/v1/things/17", nil)
			(&seawall.Stack{Logger: logs.logger()}).Handler(h).ServeHTTP(httptest.NewRecorder(), r)
			want := "GET /v1/things/{id}"
			if strings.Contains(name, "StripPrefix") {
				want = "GET /things/{id}"
			}
			require.Equal(t, want, logs.access(t)[0]["pattern"])
		})
	}
}
