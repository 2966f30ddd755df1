package seawall_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// textLogger writes lines as log/slog's TextHandler does, without the time.
func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestAccessLogLines(t *testing.T) {
	t.Parallel()
	shop := http.NewServeMux()
	shop.Handle("GET /v1/things/{id}", plain(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(25 * time.Millisecond)
		io.WriteString(w, "a thing")
	}))
	shop.Handle("POST /v1/things", failing(nil, apierror.ParameterMissing("name")))
	shop.Handle("DELETE /v1/things/{id}", failing(part, errSecret))
	shop.Handle("PUT /v1/things/{id}", panicking(http.ErrAbortHandler))
	shop.Handle("PATCH /v1/things/{id}", plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
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
		"cut off": {
			http.MethodDelete, "/v1/things/hush",
			`level=INFO msg=request method=DELETE pattern="DELETE /v1/things/{id}" status=200 bytes=6 duration=0s request_id=fixed late_code=api_error aborted=true`,
		},
		"cut off before it began": {
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
				)(seawall.WrapMux(shop))
				r := httptest.NewRequest(row.method, row.path, nil)
				r.Header.Set("X-Request-Id", "fixed")
				r.Header.Set("Authorization", "Bearer hush")

				func() {
					defer func() { _ = recover() }() // net/http does
					h.ServeHTTP(httptest.NewRecorder(), r)
				}()

				require.Equal(t, row.want+"\n", lines.String())
			})
		})
	}
}

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
		"panics with what cannot be printed": {
			func(*http.Request) []slog.Attr { panic(shyer{}) },
			map[string]any{"attrs_panic": "(a seawall_test.shyer whose text panics)"},
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

// Alone the access log finds the pattern where the mux left it.
func TestAccessLogAroundAMux(t *testing.T) {
	t.Parallel()
	var logs logs
	h := seawall.AccessLog(&seawall.AccessLogOptions{Logger: logs.logger()})(mux("GET /{$}", ok))
	serveOne(h, nil)
	require.Equal(t, map[string]any{"method": "GET", "pattern": "GET /{$}", "status": 200., "bytes": 2., "request_id": ""}, logs.access(t)[0])
}

func TestAccessLogBelowItsLevelAsksNoHook(t *testing.T) {
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

// slog.Default is looked up for each request: a program may set it after it has built its handlers.
func TestNilLoggersAreTheDefaultOne(t *testing.T) { //nolint:paralleltest // changes the default logger
	h := seawall.Chain(
		seawall.RequestID(&seawall.RequestIDOptions{Inbound: func(*http.Request) bool { panic("hook") }}),
		seawall.AccessLog(nil),
		seawall.Recover(nil),
	)(panicking("bug"))
	var logs logs
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(logs.logger())

	serveOne(h, nil)

	require.Len(t, logs.access(t), 1)
	require.Equal(t, []string{logPanic, logPanic}, logs.others(t))
}

// A client that goes away is counted, and nothing is logged as an error.
func TestClientThatGoesAway(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, handler := range map[string]http.Handler{
			"the handler returns the cancellation": apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
				<-r.Context().Done()
				return r.Context().Err()
			}),
			"the handler gives up without a word": plain(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			"the handler aborts": plain(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}),
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					line, errorLog, err := leave(t, protocol.new, handler)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.InDelta(t, 499, line["status"], 0)
					require.Empty(t, errorLog)
				})
			})
		}
	}
}

// A client that goes away when the response has begun got the status that went out, whatever its handler makes of it.
func TestClientThatGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, handler := range map[string]http.Handler{
			"of a stream": apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				flushedPart(w)
				<-r.Context().Done()
				return r.Context().Err()
			}),
			"of what follows the whole response": apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				whole(w)
				<-r.Context().Done()
				return r.Context().Err()
			}),
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					line, _, _ := leave(t, protocol.new, handler)
					require.InDelta(t, 200, line["status"], 0)
					require.NotContains(t, line, "code", "nobody was told")
				})
			})
		}
	}
}

// leave asks a Stack around h, and goes away a second later. It returns the line of the access log, which is the only one.
func leave(t *testing.T, newServer func(http.Handler) *memhttp.Server, h http.Handler) (line map[string]any, errorLog string, err error) {
	t.Helper()
	var logs logs
	s := newServer((&seawall.Stack{Logger: logs.logger()}).Handler(h))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	err = do(s.Client(), r).err
	<-ctx.Done()
	s.Close()
	lines := logs.access(t)
	require.Len(t, lines, 1)
	require.Empty(t, logs.others(t))
	return lines[0], s.Log(), err
}

// What is answered before it comes to the mux has a route all the same, and a replay is told from a run.
func TestAccessLogOfWhatTheMuxNeverSaw(t *testing.T) {
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
