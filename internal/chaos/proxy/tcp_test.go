package proxy_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/proxy"
)

// An echo is a store that answers each line with the line.
type echo struct {
	addr string

	mu    sync.Mutex
	lines []string // that have arrived
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &echo{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				e.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return e
}

func (e *echo) serve(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		e.mu.Lock()
		e.lines = append(e.lines, lines.Text())
		e.mu.Unlock()
		_, _ = io.WriteString(conn, lines.Text()+"\n")
	}
}

func (e *echo) has(lines ...string) func() bool {
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.lines) == len(lines) && (len(lines) == 0 || e.lines[len(lines)-1] == lines[len(lines)-1])
	}
}

// A conn is a client's connection.
type conn struct {
	net.Conn
	replies *bufio.Reader
}

func dial(t *testing.T, p *proxy.TCP) *conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &conn{c, bufio.NewReader(c)}
}

// ask returns the reply to a line, or an error if the connection is closed, or if there is no reply
// in time.
func (c *conn) ask(line string, wait time.Duration) (reply string, err error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	reply, err = c.replies.ReadString('\n')
	return reply, err
}

func (c *conn) mustAnswer(t *testing.T, line string) {
	t.Helper()
	reply, err := c.ask(line, patience)
	require.NoError(t, err)
	require.Equal(t, line+"\n", reply)
}

// short is how long a test waits for what must not come.
const short = 100 * time.Millisecond

func TestDownStoreClosesConnections(t *testing.T) {
	t.Parallel()
	p := proxy.NewTCP(t, newEcho(t).addr)
	c := dial(t, p)
	c.mustAnswer(t, "a")
	p.SetDown(true)
	for _, c := range []*conn{c, dial(t, p)} {
		_, err := c.ask("b", patience)
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	p.SetDown(false)
	dial(t, p).mustAnswer(t, "c")
}

func TestSilentStoreGetsTheRequestLater(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	p := proxy.NewTCP(t, e.addr)
	c := dial(t, p)
	c.mustAnswer(t, "a")
	p.SetSilent(true)
	_, err := c.ask("b", short)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.True(t, e.has("a")())
	require.NoError(t, c.Close())
	p.SetSilent(false)
	require.Eventually(t, e.has("a", "b"), patience, time.Millisecond)
}

func TestDeafStoreExecutesTheRequest(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	p := proxy.NewTCP(t, e.addr)
	c := dial(t, p)
	p.SetDeaf(true)
	_, err := c.ask("a", short)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Eventually(t, e.has("a"), patience, time.Millisecond)
	p.SetDeaf(false)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	reply, err := c.replies.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "a\n", reply)
}

func TestCutReplyIsOfAnExecutedRequest(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	p := proxy.NewTCP(t, e.addr)
	c := dial(t, p)
	p.SetCut(1)
	_, err := c.ask("a", patience)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.True(t, e.has("a")())
	p.SetCut(0)
	dial(t, p).mustAnswer(t, "b")
}

func TestSlowStoreAddsItsTimeInBothDirections(t *testing.T) {
	t.Parallel()
	p := proxy.NewTCP(t, newEcho(t).addr)
	c := dial(t, p)
	p.SetSlow(30 * time.Millisecond)
	began := time.Now()
	c.mustAnswer(t, "a")
	require.GreaterOrEqual(t, time.Since(began), 60*time.Millisecond)
}

func TestStoreThatIsNotThereClosesTheConnection(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	p := proxy.NewTCP(t, l.Addr().String())
	_, err = dial(t, p).ask("a", patience)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}
