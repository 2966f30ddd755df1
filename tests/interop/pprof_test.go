package interop_test

import (
	"context"
	"io"
	"net/http"
	"net/http/pprof"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// debugHandler returns the handlers of net/http/pprof.
func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // with heap, goroutine and others
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// A Timeout ends a profile early. The server's WriteTimeout does not, because pprof extends it.
func TestProfileInsideAStackNeedsSkipOrNoTimeout(t *testing.T) {
	t.Parallel()
	all := func(*http.Request) bool { return true }
	for _, tt := range []struct {
		name   string
		stack  *seawall.Stack
		status int
		took   time.Duration
	}{
		{"Timeout", &seawall.Stack{Timeout: 10 * time.Second}, 408, 10 * time.Second},
		{"NoTimeout", &seawall.Stack{Timeout: 10 * time.Second, NoTimeout: all}, 200, 30 * time.Second},
		{"Skip", &seawall.Stack{Timeout: 10 * time.Second, Skip: all}, 200, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.stack.Logger = discard
				server := memhttp.NewConfigured(tt.stack.Handler(debugHandler()), func(s *http.Server) { s.WriteTimeout = 20 * time.Second })
				defer server.Close()
				start := time.Now()

				resp, err := server.Client().Get(server.URL + "/debug/pprof/heap?seconds=30")
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)

				require.NoError(t, err)
				require.Equal(t, tt.status, resp.StatusCode, string(body))
				require.NotEmpty(t, body)
				require.Equal(t, tt.took, time.Since(start))
			})
		})
	}
}

// A CPU profile that a Timeout ends looks like a complete one. This test cannot run in a bubble.
func TestTimeoutCutsACPUProfileSilently(t *testing.T) {
	t.Parallel()
	stack := &seawall.Stack{Logger: discard, Timeout: 10 * time.Millisecond}
	server := startServer(t, stack.Handler(debugHandler()), false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/debug/pprof/profile?seconds=600", nil)
	require.NoError(t, err)

	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)

	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.NotEmpty(t, body)
}
