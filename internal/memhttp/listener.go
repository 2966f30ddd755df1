package memhttp

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
)

// listener is a net.Listener in memory. It knows the connections that the server has not closed.
type listener struct {
	accept chan net.Conn
	once   sync.Once // closes closed
	closed chan struct{}

	mu    sync.Mutex
	port  int
	conns map[*conn]bool
}

func newListener() *listener {
	return &listener{
		accept: make(chan net.Conn),
		closed: make(chan struct{}),
		port:   49151, // clients get the dynamic ports that follow
		conns:  make(map[*conn]bool),
	}
}

// dial returns the client's end of a new connection, once the server has accepted it.
func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	client, server := newConns(l.nextAddr(), l.Addr())
	server.onClose = func() { l.forget(server) }
	l.mu.Lock()
	l.conns[server] = true
	l.mu.Unlock()
	var err error
	select {
	case l.accept <- server:
		return client, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.closed:
		err = net.ErrClosed
	}
	l.forget(server)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: l.Addr(), Err: err}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns an address from the block that RFC 5737 reserves for documentation.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

func (l *listener) nextAddr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.port++
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: l.port}
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// open returns the number of connections that the server has not closed.
func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *listener) closeConns() {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range conns {
		c.Close() // takes the lock
	}
}
