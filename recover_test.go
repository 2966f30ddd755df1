package seawall_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

func TestRecoverLogsValueStackAndID(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		value any
		want  string
	}{
		"string":                              {"bug", `"panic":"bug"`},
		"error":                               {errSecret, `"panic":"secret cause: password=hunter2"`},
		"nil":                                 {nil, `"panic":"panic called with nil argument`},
		"what never ends":                     {strings.Repeat("é", 1<<20), `"panic":"` + strings.Repeat("é", 2048) + `…"`},
		"what is cut within a character":      {"a" + strings.Repeat("é", 1<<20), `"panic":"a` + strings.Repeat("é", 2047) + `…"`},
		"what cannot be printed":              {shy{"x"}, `"panic":"%!v(PANIC=String method: do not look)"`},
		"what cannot be printed by any means": {shyer{"x"}, `"panic":"(a seawall_test.shyer whose text panics)"`},
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
			require.Len(t, logs.others(t), 1, "logged twice")
		})
	}
}

// GODEBUG=panicnil=1 brings back the time when recover returned nil for a panic.
func TestPanicNilOfOldIsNoSuccess(t *testing.T) {
	t.Setenv("GODEBUG", "panicnil=1")
	w := serveOne(seawall.Recover(discard)(panicking(nil)), nil)
	require.Equal(t, http.StatusInternalServerError, w.Code)
}

// Recover alone, below nothing of ours: the answer has an id all the same.
func TestRecoverAlone(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.Recover(discard)(panicking("bug")), nil)
	answer{Response: w.Result(), body: w.Body.Bytes()}.requireErrorOf(t, http.MethodGet, http.StatusInternalServerError, apierror.CodeAPIError)
}

// The same in the middle of a response: what has begun is cut off, and what is complete stands.
func TestRecoverAloneInTheMiddleOfAResponse(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for _, row := range midway {
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

// Some handlers begin a response and then pass it on to another service's chain.
func TestAChainMayBeginInTheMiddleOfAResponse(t *testing.T) {
	t.Parallel()
	for outer, outside := range map[string]seawall.Middleware{
		"Recover": seawall.Recover(discard),
		"Timeout": seawall.Timeout(time.Hour),
		"HandlerFunc": func(next http.Handler) http.Handler {
			return apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { next.ServeHTTP(w, r); return nil })
		},
	} {
		for inner, inside := range map[string]seawall.Middleware{
			"RequestID":                    seawall.RequestID(nil),
			"Renderer":                     (&apierror.Renderer{}).Handler,
			"Stack":                        (&seawall.Stack{Logger: discard}).Handler,
			"Stack below a foreign writer": seawall.Chain(wrapped(1), (&seawall.Stack{Logger: discard}).Handler),
		} {
			t.Run(outer+"/"+inner, func(t *testing.T) {
				t.Parallel()
				rest := inside(plain(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "rest") }))
				w := serveOne(outside(plain(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "part, ")
					rest.ServeHTTP(w, r)
				})), nil)
				require.Equal(t, "part, rest", w.Body.String())
			})
		}
	}
}

func TestARecordOfAPanicPassesRedact(t *testing.T) {
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
		"a string":                 {knows, "password=hunter2", "redacted: password=***"},
		"an error":                 {knows, fmt.Errorf("wrapped: %w", errSecret), "an error that Redact knows"},
		"another value":            {knows, struct{ Password string }{"hunter2"}, "redacted: {***}"},
		"what cannot be printed":   {knows, shyer{"hunter2"}, "(redacted)"},
		"nothing is left":          {func(error) string { return "" }, "hunter2", "(redacted)"},
		"a hook that panics":       {func(error) string { panic("hunter2") }, "hunter2", "(redacted)"},
		"a result of many lines":   {func(error) string { return "a\nb\u202ec" }, "hunter2", "a bc"},
		"a result that is endless": {func(error) string { return strings.Repeat("a", 1<<20) }, "hunter2", strings.Repeat("a", 4<<10) + "…"},
		"no hook":                  {nil, "password", "password"},
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

// A Map that names every error is asked about all but panics.
func TestACatchAllMapDoesNotNameAPanic(t *testing.T) {
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

// The renderer's hook names errors; a panic's value is not one, also when it looks like one that
// the hook knows.
func TestNoHookTurnsAPanicIntoSomethingElse(t *testing.T) {
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

func TestARecordOfAPanicShowsNoUserinfoOrQueryOfAURL(t *testing.T) {
	t.Parallel()
	var logs logs
	h := seawall.Recover(logs.logger())(plain(func(http.ResponseWriter, *http.Request) {
		panic("fetching https://user:hush@a.example/x?token=hush failed")
	}))

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	require.Contains(t, logs.String(), "https://…@a.example/x?… failed")
	require.NotContains(t, logs.String(), "hush@")
}

// When a server's base context ends, its clients are still there: none of them gets an empty 200.
func TestBaseContextEnds(t *testing.T) {
	t.Parallel()
	base, end := context.WithCancel(context.Background())
	defer end()
	var logs logs
	running := make(chan struct{})
	s := httptest.NewUnstartedServer((&seawall.Stack{Logger: logs.logger()}).Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
	})))
	s.Config.BaseContext = func(net.Listener) context.Context { return base }
	s.Start()
	defer s.Close()
	go func() {
		<-running
		end()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)

	a := do(s.Client(), r)

	a.requireError(t, http.StatusServiceUnavailable, apierror.CodeServiceUnavailable)
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	s.Close()
	require.InDelta(t, 499, logs.access(t)[0]["status"], 0)
}
