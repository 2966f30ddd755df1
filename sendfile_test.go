package seawall_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/internal/copycount"
)

// This needs a TCP connection, and HTTP/1.
func TestFilesReachTheReadFromOfTheConnection(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	name := filepath.Join(t.TempDir(), "file.sinkLog")
	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("x"), size), 0o600))
	var logs logs
	stack := &seawall.Stack{
		Logger: logs.logger(), Timeout: time.Minute, MaxBody: 1, MaxInFlight: 1, Authenticate: as("acct_1"),
	}
	s := httptest.NewUnstartedServer(stack.Handler(plain(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })))
	l := copycount.New(s.Listener)
	s.Listener = l
	s.Start()
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)

	a := do(s.Client(), r)
	s.Close() // waits for the handler

	require.NoError(t, a.err)
	require.Len(t, a.body, size)
	require.GreaterOrEqual(t, l.Copied(), int64(size-1024), "net/http writes the first bytes itself")
	require.InDelta(t, size, logs.access(t)[0]["bytes"], 0)
}
