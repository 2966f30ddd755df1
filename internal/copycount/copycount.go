// Package copycount counts, in tests, what reaches a TCP connection's own ReadFrom: there the kernel copies (on Linux by sendfile).
package copycount

import (
	"io"
	"net"
	"sync/atomic"
)

// Listener is a TCP listener that counts for all of its connections.
type Listener struct {
	net.Listener
	copied atomic.Int64
}

// New counts for the connections of l, a TCP listener.
func New(l net.Listener) *Listener { return &Listener{Listener: l} }

// Copied is the number of bytes so far.
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
