package relay_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/relay"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// echo starts a server that sends back what it receives, until the test ends.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func both(_ context.Context, client, server net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		_, _ = io.Copy(server, client)
	})
	wg.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	})
	wg.Wait()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// answers reports whether the other side of a connection sends back what it receives.
func answers(c net.Conn) bool {
	const text = "hello"
	got := make([]byte, len(text))
	if _, err := io.WriteString(c, text); err != nil {
		return false
	}
	_, err := io.ReadFull(c, got)
	return err == nil && string(got) == text
}

func TestRelay(t *testing.T) {
	t.Parallel()
	r := relay.Start(t, echo(t), both)
	c := dial(t, r.Addr)
	if !answers(c) {
		t.Error("it does not relay")
	}
	r.SetDown(true)
	if answers(c) {
		t.Error("it is down, and an old connection is not closed")
	}
	if answers(dial(t, r.Addr)) {
		t.Error("it is down, and a new connection is not closed")
	}
	r.SetDown(false)
	if !answers(dial(t, r.Addr)) {
		t.Error("it is up again, and does not relay")
	}
	if n := r.Dials(); n != 3 {
		t.Errorf("%d connections, not 3", n)
	}
}

func TestRelayClosesClientOfMissingServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if answers(dial(t, relay.Start(t, l.Addr().String(), both).Addr)) {
		t.Error("who has answered?")
	}
}

func TestRelayEndsWithTest(t *testing.T) {
	t.Parallel()
	server := echo(t)
	var c net.Conn
	ended := false
	t.Cleanup(func() { // after that of the relay
		defer c.Close()
		if !ended {
			t.Error("nobody has waited for pass")
		}
		if answers(c) {
			t.Error("the connection is not closed")
		}
	})
	r := relay.Start(t, server, func(ctx context.Context, client, server net.Conn) {
		both(ctx, client, server)
		<-ctx.Done()
		ended = true
	})
	var err error
	if c, err = net.Dial("tcp", r.Addr); err != nil {
		t.Fatal(err)
	}
	if !answers(c) {
		t.Error("it does not relay")
	}
}
