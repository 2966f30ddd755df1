package seawall_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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

// The renderer's hook names errors; a panic's value is not one, also when it looks like one that the hook knows.
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
