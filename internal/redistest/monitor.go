package redistest

import (
	"bufio"
	"context"
	"crypto/rand"
	"net"
	"strings"
	"testing"
)

// Monitor returns the lines with which MONITOR shows the commands that the server executes while f
// runs. The commands of scripts have "lua]" in their line.
func Monitor(tb testing.TB, s *Server, f func()) (lines []string) {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		tb.Fatal(err)
	}
	replies := bufio.NewReader(conn)
	if ok, err := replies.ReadString('\n'); err != nil || ok != "+OK\r\n" {
		tb.Fatalf("redistest: MONITOR: %q, %v", ok, err)
	}
	f()
	end := rand.Text()
	if _, err := s.Do("ECHO", end); err != nil {
		tb.Fatal(err)
	}
	for {
		line, err := replies.ReadString('\n')
		if err != nil {
			tb.Fatal(err)
		}
		if strings.Contains(line, end) {
			return lines
		}
		lines = append(lines, line)
	}
}
