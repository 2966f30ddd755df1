// Package copycount lets a test count the bytes that reach the ReadFrom method of TCP
// connections, where the kernel copies them (on Linux with sendfile).
package copycount

import (
	"io"
	"net"
	"sync/atomic"
)

// Listener is a TCP listener that counts the bytes of all its connections.
type Listener struct {
	net.Listener
	copied atomic.Int64
}

// New returns a Listener around l, a TCP listener.
func New(l net.Listener) *Listener { return &Listener{Listener: l} }

// Copied returns the number of bytes so far.
func (l *Listener) Copied() int64 { return l.copied.Load() }

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c.(*net.TCPConn), &l.copied}, nil
}

type conn struct {
	*net.TCPConn
	copied *atomic.Int64
}

func (c conn) ReadFrom(src io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(src)
	c.copied.Add(n)
	return n, err
}
