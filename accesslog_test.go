package seawall_test

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// shop is a mux whose handlers end in different ways.
func shop() *http.ServeMux {
	shop := http.NewServeMux()
	shop.Handle("GET /v1/things/{id}", plain(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(25 * time.Millisecond)
		io.WriteString(w, "a thing")
	}))
	shop.Handle("POST /v1/things", failing(nil, apierror.ParameterMissing("name")))
	shop.Handle("DELETE /v1/things/{id}", failing(part, errSecret))
	shop.Handle("PUT /v1/things/{id}", panicking(http.ErrAbortHandler))
	shop.Handle("PATCH /v1/things/{id}", plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	return shop
}

func TestAccessLogLines(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		method, path string
		want         string
	}{
		"success": {
			http.MethodGet, "/v1/things/hush?key=hush",
			`level=INFO msg=request method=GET pattern="GET /v1/things/{id}" status=200 bytes=7 duration=25ms request_id=fixed`,
		},
		"success without a body": {
			http.MethodPatch, "/v1/things/hush",
			`level=INFO msg=request method=PATCH pattern="PATCH /v1/things/{id}" status=204 bytes=0 duration=0s request_id=fixed`,
		},
		"error": {
			http.MethodPost, "/v1/things",
			`level=INFO msg=request method=POST pattern="POST /v1/things" status=400 bytes=152 duration=0s request_id=fixed code=parameter_missing`,
		},
		"no such route": {
			http.MethodGet, "/hush",
			`level=INFO msg=request method=GET pattern="" status=404 bytes=136 duration=0s request_id=fixed code=resource_missing`,
		},
		"aborted": {
			http.MethodDelete, "/v1/things/hush",
			`level=INFO msg=request method=DELETE pattern="DELETE /v1/things/{id}" status=200 bytes=6 duration=0s request_id=fixed late_code=api_error aborted=true`,
		},
		"aborted before it began": {
			http.MethodPut, "/v1/things/hush",
			`level=INFO msg=request method=PUT pattern="PUT /v1/things/{id}" status=0 bytes=0 duration=0s request_id=fixed aborted=true`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var lines bytes.Buffer
				h := seawall.Chain(
					seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone}),
					(&apierror.Renderer{Logger: discard}).Handler,
					seawall.AccessLog(&seawall.AccessLogOptions{Logger: textLogger(&lines)}),
				)(seawall.WrapMux(shop()))
				r := httptest.NewRequest(row.method, row.path, nil)
				r.Header.Set("X-Request-Id", "fixed")
				r.Header.Set("Authorization", "Bearer hush")

				func() {
					defer func() { _ = recover() }() // as net/http does
					h.ServeHTTP(httptest.NewRecorder(), r)
				}()

				require.Equal(t, row.want+"\n", lines.String())
			})
		})
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

func TestAccessLogLevels(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "INFO", 404: "WARN", 500: "ERROR"} {
		var logs logs
		stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Level: func(_ *http.Request, status int) slog.Level {
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
	stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Level: func(*http.Request, int) slog.Level { panic("bug") }}}
	serveOne(stack.Handler(ok), nil)
	require.Contains(t, logs.String(), `"level":"INFO","msg":"request"`)
}

func TestAccessLogLevelMayKeepRoutesOut(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Level: func(r *http.Request, _ int) slog.Level {
		if r.Pattern == "GET /health" {
			return slog.LevelDebug
		}
		return slog.LevelInfo
	}}}
	h := stack.Handler(mux("GET /health", ok))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/health", nil))
	require.Empty(t, logs.String())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/nothing", nil))
	require.Contains(t, logs.String(), `"msg":"request"`)
}

func TestAccessLogLevelKnowsThePrincipalAndThePattern(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]http.Handler{
		"the mux":       mux("GET /orders/{id}", ok),
		"no mux":        ok,
		"a foreign one": plain(func(_ http.ResponseWriter, r *http.Request) { seawall.SetPattern(r, "GET /orders/{id}") }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var principal, pattern string
			o := &seawall.AccessLogOptions{
				Logger: slog.New(slog.DiscardHandler),
				Mux:    mux("GET /orders/{id}", ok),
				Level: func(r *http.Request, _ int) slog.Level {
					principal, pattern = seawall.Principal(r.Context()), r.Pattern
					return slog.LevelInfo
				},
			}
			r := httptest.NewRequest(http.MethodGet, "/orders/7", nil)
			seawall.AccessLog(o)(as("acct_1")(next)).ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, "acct_1", principal)
			require.Equal(t, "GET /orders/{id}", pattern)
		})
	}
}

func TestAccessLogChecksTheLevelOfEachLine(t *testing.T) {
	t.Parallel()
	kept := newKeeper(slog.LevelWarn)
	stack := &seawall.Stack{Logger: slog.New(kept), AccessLog: &seawall.AccessLogOptions{Level: func(_ *http.Request, status int) slog.Level {
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

func TestAccessLogBelowItsLevelCallsNoHook(t *testing.T) {
	t.Parallel()
	var logs logs
	logger := slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h := seawall.AccessLog(&seawall.AccessLogOptions{Logger: logger, Attrs: func(*http.Request) []slog.Attr {
		t.Error("asked")
		return nil
	}})(ok)
	serveOne(h, nil)
	require.Empty(t, logs.String())
}

func TestAccessLogAroundAMux(t *testing.T) {
	t.Parallel()
	var logs logs
	h := seawall.AccessLog(&seawall.AccessLogOptions{Logger: logs.logger()})(mux("GET /{$}", ok))
	serveOne(h, nil)
	require.Equal(t, map[string]any{"method": "GET", "pattern": "GET /{$}", "status": 200., "bytes": 2., "request_id": ""}, logs.access(t)[0])
}

// A request that was refused or replayed has a pattern too.
func TestAccessLogOfRequestsThatDoNotReachTheMux(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("POST /v1/things/{id}", failing(nil, apierror.CodeResourceMissing))
	var lines bytes.Buffer
	h := (&seawall.Stack{
		Logger:       textLogger(&lines),
		Authenticate: authorized("acct_1"),
		Idempotency:  idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
	}).Handler(mux)
	for _, row := range []struct {
		path, authorization, want string
	}{
		{"/v1/things/1", "", `pattern="POST /v1/things/{id}" status=401 .* code=authentication_failed\n$`},
		{"/v2/things", "", `pattern="" status=401 .* code=authentication_failed\n$`},
		{"/v1/things/1", "yes", `pattern="POST /v1/things/{id}" status=404 .* code=resource_missing\n$`},
		{"/v1/things/1", "yes", `pattern="POST /v1/things/{id}" status=404 .* replayed=true\n$`},
	} {
		lines.Reset()
		r := httptest.NewRequest(http.MethodPost, row.path, nil)
		r.Header.Set("Idempotency-Key", "k")
		r.Header.Set("Authorization", row.authorization)
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Regexp(t, row.want, lines.String())
	}
}

// steps are what handlers do to a response.
var steps = []struct {
	name string
	do   func(http.ResponseWriter, *rand.Rand)
}{
	{"status", func(w http.ResponseWriter, rnd *rand.Rand) {
		w.WriteHeader([]int{103, 200, 201, 204, 302, 304, 404, 500}[rnd.IntN(8)])
	}},
	{"length", func(w http.ResponseWriter, rnd *rand.Rand) {
		w.Header().Set("Content-Length", strconv.Itoa(rnd.IntN(200)))
	}},
	{"write", func(w http.ResponseWriter, rnd *rand.Rand) { w.Write(make([]byte, rnd.IntN(5000))) }},
	{"string", func(w http.ResponseWriter, rnd *rand.Rand) { io.WriteString(w, strings.Repeat("x", rnd.IntN(200))) }},
	{"copy", func(w http.ResponseWriter, rnd *rand.Rand) {
		io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 3000)), rnd.Int64N(3000)))
	}},
	{"copy of nothing", func(w http.ResponseWriter, _ *rand.Rand) { io.Copy(w, io.LimitReader(strings.NewReader(""), 1)) }},
	{"flush", func(w http.ResponseWriter, _ *rand.Rand) {
		if w.Header().Get("Content-Length") == "" { // over HTTP/1, net/http then accepts a copy that is too long
			w.(http.Flusher).Flush()
		}
	}},
	{"panic", func(http.ResponseWriter, *rand.Rand) { panic("bug") }},
}

// A thousand handlers do random things. No failure is mistaken for a success.
func TestAccessLogHasTheStatusAndBytesThatTheClientGot(t *testing.T) {
	t.Parallel()
	const sequences = 1000
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var logs logs
				var seed uint64
				var did []string
				s := protocol.new((&seawall.Stack{Logger: logs.logger()}).Handler(apierror.HandlerFunc(
					func(w http.ResponseWriter, _ *http.Request) error {
						did = nil
						rnd := rand.New(rand.NewPCG(seed, 0))
						for range rnd.IntN(6) {
							step := steps[rnd.IntN(len(steps))]
							did = append(did, step.name)
							step.do(w, rnd)
						}
						if rnd.IntN(3) == 0 {
							did = append(did, "error")
							return apierror.CodePermissionDenied
						}
						return nil
					})))
				defer s.Close()
				for ; seed < sequences; seed++ {
					logs.Take()
					method := http.MethodGet
					if seed%3 == 0 {
						method = http.MethodHead
					}
					r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
					require.NoError(t, err)

					a := do(s.Client(), r)
					synctest.Wait() // until the line is written

					lines := logs.access(t)
					require.NotEmpty(t, lines)
					line := lines[len(lines)-1] // net/http's client retries if the connection ends without a response
					if a.Response != nil {
						require.InDelta(t, a.StatusCode, line["status"], 0, "%s %q", method, did)
					}
					if a.err != nil {
						continue
					}
					require.NotContains(t, line, "aborted", "%s %q", method, did)
					require.InDelta(t, len(a.body), line["bytes"], 0, "%s %q", method, did)
					// A complete response stands when an error follows.
					if method != http.MethodHead && a.StatusCode < 300 && a.StatusCode != http.StatusNoContent && a.ContentLength < 0 {
						require.NotContains(t, line, "code", "%s %q", method, did)
					}
				}
			})
		})
	}
}
