package redistest_test

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/redistest"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// start is redistest.Start. The tests of the core module need nothing but Go, so without a
// redis-server they are skipped.
func start(t *testing.T, options ...string) *redistest.Server {
	t.Helper()
	needServer(t)
	return redistest.Start(t, options...)
}

func needServer(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server: make deps installs it")
	}
}

func do(t *testing.T, s *redistest.Server, command ...string) string {
	t.Helper()
	reply, err := s.Do(command...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestServerKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	s := start(t, "appendonly yes", "appendfsync always")
	do(t, s, "SET", "k", "v")
	s.Kill()
	if _, err := s.Do("PING"); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	if v := do(t, s, "GET", "k"); v != "v" {
		t.Errorf("k is %q after the restart", v)
	}
}

func TestClusterAnswersForEverySlot(t *testing.T) {
	t.Parallel()
	needServer(t)
	servers := redistest.StartCluster(t, 3, 0)
	owners := make(map[*redistest.Server]bool)
	for i := range 20 {
		key := fmt.Sprintf("key%d", i)
		owner := redistest.Owner(t, servers, key)
		owners[owner] = true
		if reply := do(t, owner, "SET", key, "v"); reply != "OK" {
			t.Errorf("SET %s: %s", key, reply)
		}
	}
	if len(owners) != 3 {
		t.Errorf("%d servers own the keys, want 3", len(owners))
	}
}

func TestMonitorShowsWhatIsExecutedMeanwhile(t *testing.T) {
	t.Parallel()
	s := start(t)
	do(t, s, "SET", "k", "before")
	lines := redistest.Monitor(t, s, func() { do(t, s, "SET", "k", "during") })
	if n := len(lines); n != 1 || !strings.Contains(lines[0], `"SET" "k" "during"`) {
		t.Errorf("MONITOR has shown %q", lines)
	}
}

func TestProxyDropsTheReplyButNotTheRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := redistest.NewProxy(t, s.Addr)
	conn, replies := dial(t, p)
	send(t, conn, "SET a 1\r\n")
	receive(t, replies, "+OK\r\n")
	dropped := p.DropReply("set B")
	send(t, conn, "SET a 2\r\n")
	receive(t, replies, "+OK\r\n")
	send(t, conn, "SET b 1\r\n")
	<-dropped
	if line, err := replies.ReadString('\n'); err == nil {
		t.Errorf("a reply arrived: %q", line)
	}
	if v := do(t, s, "GET", "b"); v != "1" {
		t.Errorf("b is %q: the server did not get the request", v)
	}
	if n := p.Dials(); n != 1 {
		t.Errorf("%d dials, want 1", n)
	}
}

func TestProxyDownAndSilent(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := redistest.NewProxy(t, s.Addr)
	conn, replies := dial(t, p)
	p.SetSilent(true)
	send(t, conn, "SET a 1\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if line, err := replies.ReadString('\n'); err == nil {
		t.Errorf("a silent proxy answers %q", line)
	}
	p.SetDown(true)
	_, replies = dial(t, p)
	if line, err := replies.ReadString('\n'); err == nil {
		t.Errorf("a proxy that is down answers %q", line)
	}
	p.SetDown(false)
	p.SetSilent(false)
	conn, replies = dial(t, p)
	send(t, conn, "EXISTS a\r\n")
	receive(t, replies, ":0\r\n")
}

func TestProxyDelaysRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := redistest.NewProxy(t, s.Addr)
	conn, replies := dial(t, p)
	const delay = 50 * time.Millisecond
	p.SetDelay(delay)
	sent := time.Now()
	send(t, conn, "SET a 1\r\n")
	receive(t, replies, "+OK\r\n")
	if took := time.Since(sent); took < delay {
		t.Errorf("the reply took %v, want at least %v", took, delay)
	}
	p.SetDelay(0)
	send(t, conn, "EXISTS a\r\n")
	receive(t, replies, ":1\r\n")
}

func dial(t *testing.T, p *redistest.Proxy) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, bufio.NewReader(conn)
}

func send(t *testing.T, conn net.Conn, command string) {
	t.Helper()
	if _, err := conn.Write([]byte(command)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, replies *bufio.Reader, want string) {
	t.Helper()
	if line, err := replies.ReadString('\n'); err != nil || line != want {
		t.Fatalf("reply %q, %v, want %q", line, err, want)
	}
}
