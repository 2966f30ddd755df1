package seawall_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// panicExchanges are panics with all kinds of values.
var panicExchanges = []exchange{
	{name: "panic", handler: panicking("secret"), status: 500, code: apierror.CodeAPIError, others: []string{logPanic}},
	{name: "panic with an error", handler: panicking(errSecret), status: 500, code: apierror.CodeAPIError, others: []string{logPanic}},
	{
		name: "panic with an API error", handler: panicking(apierror.ResourceMissing("customer")),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{name: "panic with nil", handler: panicking(nil), status: 500, code: apierror.CodeAPIError, others: []string{logPanic}},
	{
		name: "panic with a value that cannot be printed", handler: panicking(panickyStringer{"secret"}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "panic with a value that fmt cannot print", handler: panicking(panickyError{"secret"}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name:    "panic with a value that cannot be compared",
		handler: panicking([]func(){nil}), status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "runtime error",
		handler: plain(func(http.ResponseWriter, *http.Request) {
			var w http.ResponseWriter
			w.WriteHeader(http.StatusOK)
		}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "panic with a wrapped http.ErrAbortHandler is a bug", handler: panicking(fmt.Errorf("wrapped: %w", http.ErrAbortHandler)),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "a status that net/http refuses", handler: plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(0) }),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{name: "http.ErrAbortHandler", handler: panicking(http.ErrAbortHandler), broken: true, status: 0},
	{
		name: "runtime.Goexit", handler: plain(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }),
		broken: true, status: 500, logged: map[string]any{"code": "api_error", "bytes": 140.}, others: []string{logPanic},
	},
	{
		name: "panic of a request that asks for an upgrade", handler: panicking("bug"),
		h1Only: "HTTP/2 has no Connection header (RFC 9113, section 8.2.2)",
		request: func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
		},
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "panic after a part, of a request that asks for an upgrade",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			part(w)
			panic("bug")
		}),
		h1Only:  "HTTP/2 has no Connection header (RFC 9113, section 8.2.2)",
		request: func(r *http.Request) { r.Header.Set("Connection", "Upgrade") },
		broken:  true, status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 6.}, others: []string{logPanic},
	},
}

func TestPanics(t *testing.T) {
	t.Parallel()
	runExchanges(t, panicExchanges)
}

func TestRecoverLogsValueStackAndID(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		value any
		want  string
	}{
		"string":                                 {"bug", `"panic":"bug"`},
		"error":                                  {errSecret, `"panic":"secret cause: password=hunter2"`},
		"nil":                                    {nil, `"panic":"panic called with nil argument`},
		"a long value":                           {strings.Repeat("é", 1<<20), `"panic":"` + strings.Repeat("é", 2048) + `…"`},
		"a value that is cut inside a character": {"a" + strings.Repeat("é", 1<<20), `"panic":"a` + strings.Repeat("é", 2047) + `…"`},
		"a value that cannot be printed":         {panickyStringer{"x"}, `"panic":"%!v(PANIC=String method: do not look)"`},
		"a value that fmt cannot print":          {panickyError{"x"}, `"panic":"(a seawall_test.panickyError that panics when it is printed)"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			w := serveOne(seawall.Chain(seawall.RequestID(nil), seawall.Recover(logs.logger()))(panicking(row.value)), nil)
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.Contains(t, logs.String(), `"level":"ERROR","msg":"seawall: panic","in":"a handler"`)
			require.Contains(t, logs.String(), row.want)
			require.Contains(t, logs.String(), `"request_id":"`+w.Header().Get("Request-Id")+`"`)
			require.Contains(t, logs.String(), "panicking", "no stack")
			require.Len(t, logs.others(t), 1, "not logged once")
		})
	}
}

// recover returns nil for panic(nil) with GODEBUG=panicnil=1.
func TestPanicNilWithGODEBUGIsAnswered(t *testing.T) {
	t.Setenv("GODEBUG", "panicnil=1")
	w := serveOne(seawall.Recover(discard)(panicking(nil)), nil)
	require.Equal(t, http.StatusInternalServerError, w.Code)
}

func TestRecoverNeedsNoChain(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.Recover(discard)(panicking("bug")), nil)
	answer{Response: w.Result(), body: w.Body.Bytes()}.requireErrorOf(t, http.MethodGet, http.StatusInternalServerError, apierror.CodeAPIError)
}

func TestRecoverAbortsIncompleteResponses(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for _, row := range begunResponses {
			t.Run(protocol.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				var logs logs
				s := protocol.new(seawall.Recover(logs.logger())(plain(func(w http.ResponseWriter, _ *http.Request) {
					row.begin(w)
					panic("bug")
				})))
				defer s.Close()
				r, err := http.NewRequestWithContext(t.Context(), row.method, s.URL, nil)
				require.NoError(t, err)

				a := do(s.Client(), r)
				s.Close()

				if row.panicAborts {
					a.requireBroken(t)
				} else {
					require.NoError(t, a.err)
					require.Equal(t, row.body, string(a.body))
				}
				require.Equal(t, []string{logPanic}, logs.others(t))
				require.Regexp(t, requestIDForm, logs.ids(t)[0])
			})
		}
	}
}

func TestPanicRecordsAreRedacted(t *testing.T) {
	t.Parallel()
	knows := func(cause error) string {
		if errors.Is(cause, errSecret) {
			return "an error that Redact knows"
		}
		return "redacted: " + strings.ReplaceAll(cause.Error(), "hunter2", "***")
	}
	for name, row := range map[string]struct {
		redact func(error) string
		value  any
		want   string
	}{
		"a string":                       {knows, "password=hunter2", "redacted: password=***"},
		"an error":                       {knows, fmt.Errorf("wrapped: %w", errSecret), "an error that Redact knows"},
		"another value":                  {knows, struct{ Password string }{"hunter2"}, "redacted: {***}"},
		"a value that cannot be printed": {knows, panickyError{"hunter2"}, "(redacted)"},
		"an empty result":                {func(error) string { return "" }, "hunter2", "(redacted)"},
		"a hook that panics":             {func(error) string { panic("hunter2") }, "hunter2", "(redacted)"},
		"a result of several lines":      {func(error) string { return "a\nb\u202ec" }, "hunter2", "a bc"},
		"a long result":                  {func(error) string { return strings.Repeat("a", 1<<20) }, "hunter2", strings.Repeat("a", 4<<10) + "…"},
		"no hook":                        {nil, "password", "password"},
	} {
		for where, chain := range map[string]func(*apierror.Renderer, *slog.Logger) seawall.Middleware{
			"Stack": func(rd *apierror.Renderer, l *slog.Logger) seawall.Middleware {
				return (&seawall.Stack{Renderer: rd, Logger: l}).Handler
			},
			"inside of the Renderer": func(rd *apierror.Renderer, l *slog.Logger) seawall.Middleware {
				return seawall.Chain(rd.Handler, seawall.Recover(l))
			},
			"outside of the Renderer": func(rd *apierror.Renderer, l *slog.Logger) seawall.Middleware {
				return seawall.Chain(seawall.Recover(l), wrapped(1), rd.Handler)
			},
			"between RequestID and the Renderer": func(rd *apierror.Renderer, l *slog.Logger) seawall.Middleware {
				return seawall.Chain(seawall.RequestID(nil), seawall.Recover(l), rd.Handler)
			},
			"inside of a Renderer, below a sub-request's own chain": func(rd *apierror.Renderer, l *slog.Logger) seawall.Middleware {
				return seawall.Chain(rd.Handler, cloned, seawall.RequestID(nil), seawall.Recover(l))
			},
		} {
			t.Run(name+"/"+where, func(t *testing.T) {
				t.Parallel()
				var logs logs
				h := chain(&apierror.Renderer{Redact: row.redact}, logs.logger())(panicking(row.value))
				require.Equal(t, http.StatusInternalServerError, serveOne(h, nil).Code)
				require.Equal(t, []string{logPanic}, logs.others(t))
				require.Contains(t, logs.String(), `"panic":"`+row.want+`"`)
				require.NotContains(t, logs.String(), "hunter2")
			})
		}
	}
}

func TestPanicRecordsHaveNoUserinfoOrQueryOfURLs(t *testing.T) {
	t.Parallel()
	var logs logs
	h := seawall.Recover(logs.logger())(plain(func(http.ResponseWriter, *http.Request) {
		panic("fetching https://user:hush@a.example/x?token=hush failed")
	}))

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	require.Contains(t, logs.String(), "https://…@a.example/x?… failed")
	require.NotContains(t, logs.String(), "hush@")
}

func TestACatchAllMapDoesNotSeePanics(t *testing.T) {
	t.Parallel()
	rd := &apierror.Renderer{Logger: discard, Map: func(error) *apierror.Error { return apierror.ResourceMissing("customer") }}
	for name, chain := range map[string]seawall.Middleware{
		"Stack":                   (&seawall.Stack{Logger: discard, Renderer: rd}).Handler,
		"inside of the Renderer":  seawall.Chain(rd.Handler, seawall.Recover(discard)),
		"outside of the Renderer": seawall.Chain(seawall.Recover(discard), wrapped(1), rd.Handler),
	} {
		for _, value := range []any{"bug", errSecret, nil, apierror.ResourceMissing("order"), context.Canceled} {
			require.Equal(t, http.StatusInternalServerError, serveOne(chain(panicking(value)), nil).Code, "%s: %v", name, value)
		}
		require.Equal(t, http.StatusNotFound, serveOne(chain(failing(nil, errSecret)), nil).Code, name)
	}
}

func TestMapDoesNotSeeThePanicValue(t *testing.T) {
	t.Parallel()
	stack := &seawall.Stack{Logger: discard, Renderer: &apierror.Renderer{Map: func(err error) *apierror.Error {
		if err == errSecret { //nolint:errorlint // on purpose
			return apierror.ResourceMissing("customer")
		}
		return nil
	}}}
	require.Equal(t, http.StatusNotFound, serveOne(stack.Handler(failing(nil, errSecret)), nil).Code)
	require.Equal(t, http.StatusInternalServerError, serveOne(stack.Handler(panicking(errSecret)), nil).Code)
}
