package seawall_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
)

// outerPattern serves a request, and returns the pattern that outer middleware finds in its own
// request.
func outerPattern(h http.Handler) (pattern string) {
	r := httptest.NewRequest(http.MethodPost, "/v1/things/17", http.NoBody)
	r.Header.Set("Idempotency-Key", "key")
	func() {
		defer func() {
			_ = recover()
			pattern = r.Pattern
		}()
		h.ServeHTTP(httptest.NewRecorder(), r)
	}()
	return pattern
}

func TestOuterMiddlewareFindsThePattern(t *testing.T) {
	t.Parallel()
	const want = "POST /v1/things/{id}"
	for end, handler := range map[string]http.Handler{
		"success": ok, "panic": panicking("bug"), "abort": panicking(http.ErrAbortHandler),
	} {
		for name := range layers() {
			for router, routed := range map[string]http.Handler{
				"ServeMux": mux(want, handler),
				"WrapMux":  seawall.WrapMux(mux(want, handler)),
				"another router, before": plain(func(w http.ResponseWriter, r *http.Request) {
					seawall.SetPattern(r, want)
					handler.ServeHTTP(w, r)
				}),
				"another router, after": plain(func(w http.ResponseWriter, r *http.Request) {
					defer seawall.SetPattern(r, want)
					handler.ServeHTTP(w, r)
				}),
			} {
				t.Run(end+"/"+name+"/"+router, func(t *testing.T) {
					t.Parallel()
					require.Equal(t, want, outerPattern(seawall.Chain(layers()[name])(routed)))
				})
			}
		}
	}
}

func TestTheLastPatternWins(t *testing.T) {
	t.Parallel()
	const want = "GET /v1/things/{id}"
	for name, router := range map[string]seawall.Middleware{
		"after the handler": func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				r.Pattern = "/v1/"
				next.ServeHTTP(w, r)
				r.Pattern = want
			})
		},
		"on the copy": func(next http.Handler) http.Handler {
			return mux("/", as("acct_2")(plain(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				r.Pattern = want
			})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			stack := &seawall.Stack{Logger: logs.logger()}
			serveOne(stack.Handler(plain(router(as("acct_1")(ok)).ServeHTTP)), nil)
			require.Equal(t, want, logs.access(t)[0]["pattern"])
		})
	}
}

func TestSetPatternSetsThePatternOfItsRequest(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	seawall.SetPattern(r, "GET /{$}")
	require.Equal(t, "GET /{$}", r.Pattern)
}

func TestAccessLogHasThePatternOfAnotherRouter(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Handler{
		"alone": plain(func(_ http.ResponseWriter, r *http.Request) { seawall.SetPattern(r, "GET /things/{id}") }),
		"last call wins": plain(func(_ http.ResponseWriter, r *http.Request) {
			seawall.SetPattern(r, "GET /things/")
			seawall.SetPattern(r, "GET /things/{id}")
		}),
		"over a mux": mux("/", plain(func(w http.ResponseWriter, r *http.Request) {
			seawall.SetPattern(r, "GET /things/{id}")
			io.WriteString(w, "ok")
		})),
		"on a copy of other middleware": plain(func(_ http.ResponseWriter, r *http.Request) {
			seawall.SetPattern(r.WithContext(r.Context()), "GET /things/{id}")
		}),
		"not of a sub-request": plain(func(_ http.ResponseWriter, r *http.Request) {
			seawall.SetPattern(r, "GET /things/{id}")
			sub := r.Clone(r.Context())
			seawall.SetPattern(sub, "GET /parts/{id}")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, authenticate := range []seawall.Middleware{nil, as("acct_1")} {
				var logs logs
				stack := &seawall.Stack{Logger: logs.logger(), Authenticate: authenticate}
				serveOne(stack.Handler(plain(h.ServeHTTP)), nil)
				require.Equal(t, "GET /things/{id}", logs.access(t)[0]["pattern"])
			}
		})
	}
}

func TestAccessLogHasThePatternOfTheInnermostMux(t *testing.T) {
	t.Parallel()
	inner := mux("GET /v1/things/{id}", ok)
	for name, h := range map[string]http.Handler{
		"a mux":                      mux("/v1/", inner),
		"WrapMux":                    mux("/v1/", seawall.WrapMux(inner)),
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

func TestAccessLogHasThePatternOfAClone(t *testing.T) {
	t.Parallel()
	var logs logs
	routes := http.NewServeMux()
	routes.Handle("GET /v1/{thing}", ok)
	for _, inside := range []seawall.Middleware{nil, seawall.RequestID(nil), (&apierror.Renderer{}).Handler} {
		h := (&seawall.Stack{Logger: logs.logger()}).Handler(cloned(seawall.Chain(inside)(seawall.WrapMux(routes))))
		r := httptest.NewRequest(http.MethodGet, "/v1/a", nil)
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, "GET /v1/{thing}", requestLine(t, &logs)["pattern"])
		require.Equal(t, "GET /v1/{thing}", r.Pattern)
	}
}

func TestASubRequestKeepsItsOwnPattern(t *testing.T) {
	t.Parallel()
	var logs logs
	parts := seawall.Timeout(time.Hour)(mux("GET /parts/{id}", ok))
	var part *http.Request
	stack := (&seawall.Stack{Logger: logs.logger()}).Handler(mux("GET /batch", plain(func(_ http.ResponseWriter, r *http.Request) {
		part = r.Clone(r.Context())
		part.URL.Path, part.Pattern = "/parts/17", ""
		parts.ServeHTTP(httptest.NewRecorder(), part)
	})))
	stack.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/batch", nil))
	require.Equal(t, "GET /parts/{id}", part.Pattern)
	require.Equal(t, "GET /batch", logs.access(t)[0]["pattern"])
}

// earlyAnswers are requests that middleware answers before they reach the router.
func earlyAnswers() map[string]struct {
	stack  *seawall.Stack
	status int
} {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name: "early", Limit: ratelimit.PerHour(1), Key: everybody, Cost: func(*http.Request) int { return 2 },
	})
	answering := func(h http.Handler) seawall.Middleware { return func(http.Handler) http.Handler { return h } }
	refusing := func(err error) seawall.Middleware { return answering(failing(nil, err)) }
	return map[string]struct {
		stack  *seawall.Stack
		status int
	}{
		"an invalid key":                      {&seawall.Stack{Authenticate: refusing(apierror.CodeAuthenticationFailed)}, 401},
		"a missing permission":                {&seawall.Stack{Authenticate: seawall.Chain(as("acct_1"), refusing(apierror.CodePermissionDenied))}, 403},
		"a limit":                             {&seawall.Stack{RateLimit: limit}, 429},
		"a limit of a principal":              {&seawall.Stack{Authenticate: as("acct_1"), RateLimit: limit}, 429},
		"a limit below a deadline":            {&seawall.Stack{Timeout: time.Hour, AddressLimit: limit}, 429},
		"a cached answer":                     {&seawall.Stack{Idempotency: answering(ok)}, 200},
		"a body that is too large":            {&seawall.Stack{MaxBody: 1}, 413},
		"a panic":                             {&seawall.Stack{Authenticate: answering(panicking("bug"))}, 500},
		"an invalid key of a skipped request": {&seawall.Stack{Skip: func(*http.Request) bool { return true }, Authenticate: refusing(apierror.CodeAuthenticationFailed)}, 401},
	}
}

// early sends a request to s, and returns its status, the pattern that outer middleware
// finds in its own request, and the line of the access log.
func early(t *testing.T, protocol func(http.Handler) *memhttp.Server, s *seawall.Stack, h http.Handler) (status int, outer string, line map[string]any) {
	t.Helper()
	var logs logs
	s.Logger = logs.logger()
	inside := s.Handler(h)
	server := protocol(plain(func(w http.ResponseWriter, r *http.Request) {
		defer func() { outer = r.Pattern }()
		inside.ServeHTTP(w, r)
	}))
	defer server.Close()
	resp, err := server.Client().Post(server.URL+"/v1/things/17", "text/plain", strings.NewReader("body"))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	server.Close()
	lines := logs.access(t)
	require.Len(t, lines, 1)
	return resp.StatusCode, outer, lines[0]
}

func TestRequestsThatDoNotReachTheMuxHaveItsPattern(t *testing.T) {
	t.Parallel()
	const route = "POST /v1/things/{id}"
	routes := func() *http.ServeMux { return mux(route, ok) }
	for _, protocol := range protocols {
		for name := range earlyAnswers() {
			for router, row := range map[string]struct {
				h    http.Handler
				want string
			}{
				"ServeMux":                   {routes(), route},
				"ServeMux without a route":   {mux("/v2/", ok), ""},
				"another router":             {plain(routes().ServeHTTP), ""},
				"ServeMux around a ServeMux": {mux("/v1/", routes()), "/v1/"},
			} {
				t.Run(protocol.name+"/"+name+"/"+router, func(t *testing.T) {
					t.Parallel()
					answer := earlyAnswers()[name]
					status, outer, line := early(t, protocol.new, answer.stack, row.h)
					require.Equal(t, answer.status, status)
					require.Equal(t, row.want, outer)
					require.Equal(t, row.want, line["pattern"])
				})
			}
		}
	}
}

// Other routers can be asked for the route before the chain begins.
func TestRequestsThatDoNotReachTheRouterHaveThePatternTheyCameWith(t *testing.T) {
	t.Parallel()
	for name, answer := range earlyAnswers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			answer.stack.Logger = logs.logger()
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/things/17", strings.NewReader("body"))
			r.Pattern = "POST /v1/things/{id}"
			answer.stack.Handler(plain(ok.ServeHTTP)).ServeHTTP(w, r)
			require.Equal(t, answer.status, w.Code)
			require.Equal(t, "POST /v1/things/{id}", r.Pattern)
			require.Equal(t, "POST /v1/things/{id}", requestLine(t, &logs)["pattern"])
		})
	}
}

func TestAReplayHasThePatternOfItsRoute(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		var logs logs
		var outer []string
		h := (&seawall.Stack{
			Logger: logs.logger(), Authenticate: as("acct_1"), Idempotency: idempotent.New(idempotent.NewMemory(nil), everybody, nil),
		}).Handler(mux("POST /v1/things/{id}", ok))
		s := protocol.new(plain(func(w http.ResponseWriter, r *http.Request) {
			defer func() { outer = append(outer, r.Pattern) }()
			h.ServeHTTP(w, r)
		}))
		for range 2 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/things/17", nil)
			require.NoError(t, err)
			r.Header.Set("Idempotency-Key", "key")
			require.NoError(t, do(s.Client(), r).err)
		}
		s.Close()
		require.Equal(t, []string{"POST /v1/things/{id}", "POST /v1/things/{id}"}, outer)
		line := logs.access(t)[1]
		require.Equal(t, true, line["replayed"])
		require.Equal(t, "POST /v1/things/{id}", line["pattern"])
	}
}

func TestTheMuxDoesNotReplaceThePatternOfARouter(t *testing.T) {
	t.Parallel()
	const route = "POST /v1/things/{thing}"
	sets := func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) {
			seawall.SetPattern(r, route)
			next.ServeHTTP(w, r)
		})
	}
	refuses := func(http.Handler) http.Handler { return failing(nil, apierror.CodeAuthenticationFailed) }
	for _, protocol := range protocols {
		for name, authenticate := range map[string]seawall.Middleware{
			"before the mux":                   seawall.Chain(sets, refuses),
			"before the mux, which is reached": sets,
			"before the mux, on a copy":        seawall.Chain(as("acct_1"), sets, refuses),
		} {
			for router, h := range map[string]http.Handler{
				"around a ServeMux": mux("/v1/", sets(ok)), "around another router": sets(ok),
			} {
				t.Run(protocol.name+"/"+name+"/"+router, func(t *testing.T) {
					t.Parallel()
					_, outer, line := early(t, protocol.new, &seawall.Stack{Authenticate: authenticate}, h)
					require.Equal(t, route, outer)
					require.Equal(t, route, line["pattern"])
				})
			}
		}
	}
}

// A second look would find the route that is added here.
func TestAMuxWithoutTheRouteIsAskedOnce(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		routes := mux("/v2/", ok)
		adding := func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				routes.Handle("/v1/", ok)
			})
		}
		status, outer, line := early(t, protocol.new, &seawall.Stack{Idempotency: adding}, routes)
		require.Equal(t, http.StatusNotFound, status)
		require.Empty(t, outer)
		require.Empty(t, line["pattern"])
	}
}

// It does so even if it writes nothing, because outer middleware finds the pattern too.
func TestAccessLogAloneFindsThePatternInItsMux(t *testing.T) {
	t.Parallel()
	routes := mux("POST /v1/things/{id}", ok)
	for name, o := range map[string]*seawall.AccessLogOptions{
		"writing": {Logger: slog.New(slog.NewJSONHandler(new(sinkLog), nil)), Mux: routes},
		"silent":  {Logger: discard, Mux: routes},
	} {
		chain := seawall.Chain(seawall.AccessLog(o), func(http.Handler) http.Handler { return failing(nil, apierror.CodeAuthenticationFailed) })
		require.Equal(t, "POST /v1/things/{id}", outerPattern(chain(routes)), name)
	}
}

// ServeMux returns the path as the pattern of such a request.
func TestARedirectedCONNECTHasNoPattern(t *testing.T) {
	t.Parallel()
	h := (&seawall.Stack{Logger: discard}).Handler(mux("/v1/things/{id}/", ok))
	for path, want := range map[string]string{"/v1/things/17": "", "/v1/things/17/": "/v1/things/{id}/"} {
		r, w := httptest.NewRequest(http.MethodConnect, path, nil), httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want == "", w.Code == http.StatusTemporaryRedirect, path)
		require.Equal(t, want, r.Pattern, path)
	}
}

func TestAccessLogHasNoPathOfACONNECT(t *testing.T) {
	t.Parallel()
	shop := mux("/v1/things/{id}/", ok)
	for name, row := range map[string]struct {
		stack *seawall.Stack
		h     http.Handler
	}{
		"redirected":            {&seawall.Stack{}, shop},
		"refused":               {&seawall.Stack{Authenticate: authorized("acct_1")}, shop},
		"redirected by another": {&seawall.Stack{}, mux("/", http.RedirectHandler("/", http.StatusMovedPermanently))},
		"status 399":            {&seawall.Stack{}, mux("/", plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(399) }))},
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
