package memhttp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// capacity is how many bytes one direction of a connection holds before a write blocks.
// Like a socket's buffer, and unlike net.Pipe, it lets one side write and close before the
// other has read.
const capacity = 64 << 10

// conn is one end of a connection. It behaves like a TCP connection, except that bytes
// written before Close are always delivered: there is no reset that discards them.
type conn struct {
	in, out       *stream
	local, remote net.Addr
	onClose       func()
}

// newConns returns the two ends of a connection.
func newConns(client, server net.Addr) (*conn, *conn) {
	up, down := newStream(), newStream()
	return &conn{in: down, out: up, local: client, remote: server, onClose: func() {}},
		&conn{in: up, out: down, local: server, remote: client, onClose: func() {}}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close ends both directions: the peer reads the remaining bytes, then io.EOF, and its
// writes fail.
func (c *conn) Close() error {
	c.in.closeRead()
	c.out.closeWrite()
	c.onClose()
	return nil
}

// CloseWrite ends the outgoing direction only, as (*net.TCPConn).CloseWrite does. net/http
// looks for this method.
func (c *conn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readDeadline, t)
	c.out.setDeadline(&c.out.writeDeadline, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readDeadline, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeDeadline, t)
	return nil
}

// wrap returns err in the form of a socket's error. io.EOF stays bare, because readers
// compare it.
func (c *conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction of a connection. A goroutine only ever waits on its sync.Cond, so
// a synctest bubble sees that goroutine as durably blocked.
type stream struct {
	mu      sync.Mutex
	changed *sync.Cond

	buf         []byte
	writing     bool // so that the bytes of a Write stay together
	writeClosed bool
	readClosed  bool

	readDeadline, writeDeadline deadline
}

type deadline struct {
	timer   *time.Timer
	expired bool
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readClosed:
			return 0, net.ErrClosed
		case s.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = append(s.buf[:0], s.buf[n:]...)
			s.changed.Broadcast()
			return n, nil
		case s.writeClosed:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		s.changed.Wait()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.changed.Broadcast()
	}()
	written := 0
	for {
		switch {
		case s.writeClosed:
			return written, net.ErrClosed
		case s.readClosed:
			return written, syscall.EPIPE
		case s.writeDeadline.expired:
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(p)-written, capacity-len(s.buf))
		s.buf = append(s.buf, p[written:written+n]...)
		written += n
		s.changed.Broadcast()
		if written == len(p) {
			return written, nil
		}
		s.changed.Wait()
	}
}

func (s *stream) closeRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readClosed = true
	s.readDeadline.stop()
	s.changed.Broadcast()
}

func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeClosed = true
	s.writeDeadline.stop()
	s.changed.Broadcast()
}

// setDeadline sets d, one of the stream's two deadlines. If t is zero, there is no
// deadline.
func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	left := time.Until(t)
	d.expired = !t.IsZero() && left <= 0
	if !t.IsZero() && left > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if d.timer == timer { // otherwise a later deadline has replaced it
				d.expired = true
				s.changed.Broadcast()
			}
		})
		d.timer = timer
	}
	s.changed.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
