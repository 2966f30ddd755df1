package seawall_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// muxExchanges are responses of an http.ServeMux and of its handlers.
var muxExchanges = []exchange{
	{
		name: "no such route", handler: mux("GET /v1/things", ok), request: path("/v1/hush"),
		status: 404, code: apierror.CodeResourceMissing,
	},
	{
		name: "no such method", handler: mux("GET /v1/things", ok),
		request: func(r *http.Request) { r.Method, r.URL.Path = http.MethodDelete, "/v1/things" },
		status:  405, code: apierror.CodeMethodNotAllowed,
		check: func(t *testing.T, a answer) { require.Equal(t, []string{"GET, HEAD"}, a.Header["Allow"]) },
	},
	{
		name: "redirect to the subtree", handler: mux("GET /v1/things/", ok), request: path("/v1/things"),
		check: func(t *testing.T, a answer) {
			require.Equal(t, "/v1/things/?key=hush", a.Header.Get("Location"))
			a.requireID(t)
		},
		status: 307, logged: map[string]any{"pattern": "GET /v1/things/"},
	},
	{
		name: "redirect to a clean path without a route", handler: mux("GET /v1/things", ok), request: path("/v1//hush"),
		check:  func(t *testing.T, a answer) { require.Equal(t, "/v1/hush?key=hush", a.Header.Get("Location")) },
		status: 307,
	},
	{
		name: "a 404 of the handler", handler: mux("GET /v1/{thing}", http.NotFoundHandler()), request: path("/v1/hush"),
		status: 404, body: "404 page not found\n", logged: map[string]any{"pattern": "GET /v1/{thing}"},
	},
	{
		name: "a matched route", handler: mux("GET /v1/{thing}", ok), request: path("/v1/hush"),
		stack:  &seawall.Stack{Timeout: time.Minute},
		status: 200, body: "ok", logged: map[string]any{"pattern": "GET /v1/{thing}"},
	},
	{
		name: "CONNECT", handler: mux("GET /v1/things", ok),
		request: func(r *http.Request) {
			r.Method, r.URL = http.MethodConnect, &url.URL{Scheme: "http", Host: "hush.example:443"}
		},
		status: 404, code: apierror.CodeResourceMissing,
	},
	{
		name: "target *", handler: mux("/", ok), request: func(r *http.Request) { r.URL.Opaque, r.URL.RawQuery = "*", "" },
		status: 400, code: apierror.CodeParameterInvalid,
	},
}

func TestWrapMux(t *testing.T) {
	t.Parallel()
	runExchanges(t, muxExchanges)
}

// No client of net/http sends these requests.
func TestUnusualRequestTargets(t *testing.T) {
	t.Parallel()
	shop := http.NewServeMux()
	shop.Handle("/v1/things/{id}/", ok)
	shop.Handle("GET /v1/things", ok)
	for name, row := range map[string]struct {
		request string
		status  int
		code    apierror.Code // empty for a response of the mux or of net/http
		pattern any           // nil if the chain is not reached
	}{
		"CONNECT to an authority":         {"CONNECT hush.example:443 HTTP/1.1\r\nHost: hush.example:443\r\n\r\n", 404, apierror.CodeResourceMissing, ""},
		"CONNECT to a path":               {"CONNECT /v1/things/hush/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", "/v1/things/{id}/"},
		"CONNECT that is redirected":      {"CONNECT /v1/things/hush HTTP/1.1\r\nHost: x\r\n\r\n", 307, "", ""},
		"CONNECT with a wrong method":     {"CONNECT /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"GET *":                           {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, apierror.CodeParameterInvalid, ""},
		"OPTIONS * is net/http's":         {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", nil},
		"OPTIONS of a route":              {"OPTIONS /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"absolute form":                   {"GET http://hush.example/v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", "GET /v1/things"},
		"an unknown method":               {"HUSH /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"a long method":                   {strings.Repeat("X", 1<<18) + " /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"no path":                         {"GET ?key=hush HTTP/1.1\r\nHost: x\r\n\r\n", 400, "", nil},
		"two ids, one with control bytes": {"GET /v1/things HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x01b\r\n\r\n", 400, "", nil},
		"HTTP/1.0":                        {"GET /v1/hush HTTP/1.0\r\n\r\n", 404, apierror.CodeResourceMissing, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			s := memhttp.New((&seawall.Stack{Logger: logs.logger(), RequestID: &seawall.RequestIDOptions{Inbound: everyone}}).Handler(shop))
			defer s.Close()

			a := raw(t, s, row.request)

			require.NoError(t, a.err)
			require.Equal(t, row.status, a.StatusCode)
			if row.code != "" {
				a.requireError(t, row.status, row.code)
			}
			if name == "GET *" {
				require.Contains(t, string(a.body), `"The request target * names no resource."`)
			}
			s.Close()
			require.Empty(t, s.Log())
			lines := logs.access(t)
			if row.pattern == nil {
				require.Empty(t, lines)
				return
			}
			require.Len(t, lines, 1)
			require.Equal(t, row.pattern, lines[0]["pattern"])
			require.LessOrEqual(t, len(lines[0]["method"].(string)), 32+len("…"))
			delete(lines[0], "method")
			require.NotContains(t, lines[0], "hush")
		})
	}
}

func TestWrapMuxNeedsNoChain(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.WrapMux(mux("POST /", ok)), nil)
	answer{Response: w.Result(), body: w.Body.Bytes()}.requireErrorOf(t, http.MethodGet, http.StatusMethodNotAllowed, apierror.CodeMethodNotAllowed)
	require.Equal(t, []string{"POST"}, w.Header()["Allow"])
	require.Equal(t, "ok", serveOne(seawall.WrapMux(mux("GET /", ok)), nil).Body.String())
}

func TestAMuxInAMuxNeedsItsOwnWrapMux(t *testing.T) {
	t.Parallel()
	inner := mux("GET /things", ok)
	for name, row := range map[string]struct {
		inner http.Handler
		code  apierror.Code
	}{
		"bare":    {inner, ""},
		"wrapped": {seawall.WrapMux(inner), apierror.CodeResourceMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memhttp.New((&seawall.Stack{Logger: discard}).Handler(mux("/v1/", http.StripPrefix("/v1", row.inner))))
			defer s.Close()
			require.Equal(t, "ok", string(get(t, s, "/v1/things").body))
			a := get(t, s, "/v1/nothing")
			require.Equal(t, http.StatusNotFound, a.StatusCode)
			if row.code != "" {
				a.requireError(t, http.StatusNotFound, row.code)
			} else {
				require.Equal(t, "404 page not found\n", string(a.body))
			}
		})
	}
}

// They are its redirects, 404 and 405.
func TestResponsesOfTheMuxItselfAreNotKeptForAKey(t *testing.T) {
	t.Parallel()
	created := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
	for name, wrap := range map[string]func(*http.ServeMux) http.Handler{
		"a mux":    func(mux *http.ServeMux) http.Handler { return keyed()(mux) },
		"NotFound": func(mux *http.ServeMux) http.Handler { return keyed()(seawall.WrapMux(mux)) },
		"a Stack":  func(mux *http.ServeMux) http.Handler { return (&seawall.Stack{Idempotency: keyed()}).Handler(mux) },
		"in a mux": func(mux *http.ServeMux) http.Handler {
			outer := http.NewServeMux()
			outer.Handle("/", keyed()(mux))
			return outer
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/orders/", created)
			mux.HandleFunc("GET /read", created)
			h := wrap(mux)
			s := memhttp.New(h)
			defer s.Close()
			client := s.Client()
			post := func(path, key string) (status int, replayed bool) {
				req, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader("body"))
				require.NoError(t, err)
				req.Header.Set("Idempotency-Key", key)
				resp, err := client.Do(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				return resp.StatusCode, resp.Header.Get("Idempotent-Replayed") == "true"
			}

			for _, path := range []string{"/orders", "//orders/1"} { // 307, which the client follows with the same key
				for i, wantReplay := range []bool{false, true} {
					status, replayed := post(path, "key-of-"+path[1:2])
					require.Equal(t, http.StatusCreated, status, "%s, attempt %d", path, i+1)
					require.Equal(t, wantReplay, replayed, path)
				}
			}
			for _, path := range []string{"/new", "/read"} {
				status, _ := post(path, "later"+path[1:])
				require.GreaterOrEqual(t, status, 400, path)
			}
			mux.HandleFunc("POST /new", created) // as a new version of the service does
			mux.HandleFunc("POST /read", created)
			for _, path := range []string{"/new", "/read"} {
				status, replayed := post(path, "later"+path[1:])
				require.Equal(t, http.StatusCreated, status, path)
				require.False(t, replayed)
			}
		})
	}
}

// The key is claimed then, but it is free again.
func TestResponsesOfAMuxInsideOtherMiddlewareAreNotKeptForAKey(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/orders/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /read", func(http.ResponseWriter, *http.Request) {})
	hide := func(next http.Handler) http.Handler { return plain(next.ServeHTTP) }
	h := (&seawall.Stack{Logger: discard, Idempotency: keyed()}).Handler(hide(seawall.WrapMux(mux)))
	for path, status := range map[string]int{"/orders": 307, "/new": 404, "/read": 405} {
		for range 2 {
			r := httptest.NewRequest(http.MethodPost, path, nil)
			r.Header.Set("Idempotency-Key", path)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, status, w.Code, path)
			require.Empty(t, w.Header().Get("Idempotent-Replayed"), path)
		}
	}
}

func TestSuccessOfAHandlerThatHasAskedAMuxIsKeptForAKey(t *testing.T) {
	t.Parallel()
	runs := 0
	h := keyed()(plain(func(w http.ResponseWriter, r *http.Request) {
		runs++
		seawall.WrapMux(http.NewServeMux()).ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusCreated)
	}))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, http.StatusCreated, w.Code)
	}
	require.Equal(t, 1, runs)
}

func TestAnUnknownPathNeedsNoIdempotencyKey(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	h := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Required: true})(seawall.WrapMux(mux))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/unknown", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

func keyed() func(http.Handler) http.Handler {
	return idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)
}
