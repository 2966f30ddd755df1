// Package relay accepts connections for the proxies of tests.
package relay

import (
	"context"
	"net"
	"sync"
	"testing"
)

// A Relay accepts connections of clients, and connects each to a server. Its methods are safe for
// concurrent use.
type Relay struct {
	Addr string // for clients

	server string
	ctx    context.Context // ends with the test
	pass   PassFunc

	mu    sync.Mutex
	conns map[net.Conn]bool // those of clients
	dials int
	down  bool
}

// A PassFunc passes on what a client and its server send, in both directions, and returns when one
// of them is gone. The context ends with the test, and so do the connections.
type PassFunc func(ctx context.Context, client, server net.Conn)

// Start relays connections to the server at an address, until the test ends. Each
// connection has a goroutine, which calls pass, and then closes both sides.
func Start(tb testing.TB, server string, pass PassFunc) *Relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{Addr: l.Addr().String(), server: server, ctx: ctx, pass: pass, conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	wg.Go(func() { r.accept(l, &wg) })
	tb.Cleanup(func() {
		_ = l.Close()
		cancel()
		wg.Wait()
	})
	return r
}

// SetDown closes all connections, and each new one immediately. SetDown(false) ends that.
func (r *Relay) SetDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
	if down {
		for c := range r.conns {
			_ = c.Close()
		}
	}
}

// Dials returns how many connections clients have opened.
func (r *Relay) Dials() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dials
}

func (r *Relay) accept(l net.Listener, wg *sync.WaitGroup) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		if !r.admit(client) {
			_ = client.Close()
			continue
		}
		wg.Go(func() { r.serve(client) })
	}
}

func (r *Relay) admit(client net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dials++
	if !r.down {
		r.conns[client] = true
	}
	return !r.down
}

func (r *Relay) serve(client net.Conn) {
	defer r.forget(client)
	server, err := new(net.Dialer).DialContext(r.ctx, "tcp", r.server)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(r.ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	r.pass(r.ctx, client, server)
}

func (r *Relay) forget(client net.Conn) {
	_ = client.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, client)
}
