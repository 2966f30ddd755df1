package seawall_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
)

// countingListener counts the bytes that the connections' own ReadFrom copies: on Linux the kernel does (sendfile).
type countingListener struct {
	net.Listener
	copied *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c.(*net.TCPConn), l.copied}, nil
}

type countingConn struct {
	*net.TCPConn
	copied *atomic.Int64
}

func (c countingConn) ReadFrom(src io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(src)
	c.copied.Add(n)
	return n, err
}

// Over real TCP: a file goes through all of the chain to the connection's own ReadFrom. HTTP/2 has none.
func TestFileReachesTheConnection(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	name := filepath.Join(t.TempDir(), "file.bin")
	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("x"), size), 0o600))
	var copied atomic.Int64
	var logs logs
	stack := &seawall.Stack{
		Logger: logs.logger(), Timeout: time.Minute, MaxBody: 1, MaxInFlight: 1, Authenticate: as("acct_1"),
	}
	s := httptest.NewUnstartedServer(stack.Handler(plain(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })))
	s.Listener = countingListener{s.Listener, &copied}
	s.Start()
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)

	a := do(s.Client(), r)
	s.Close() // waits for the handler

	require.NoError(t, a.err)
	require.Len(t, a.body, size)
	require.GreaterOrEqual(t, copied.Load(), int64(size-1024), "the first bytes net/http writes by itself")
	require.InDelta(t, size, logs.access(t)[0]["bytes"], 0)
}
