package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// raw sends a request with net/http alone. The status is 0 if there was no answer.
func (s *stage) raw(ctx context.Context, method, path, key, body string) (status int, header http.Header, text string) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err.Error()
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(b))
}

// breakingListener can make a connection break in the middle of its next reply.
type breakingListener struct {
	net.Listener
	breakNext atomic.Bool
}

func (l *breakingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return breakingConn{conn, l}, err
}

type breakingConn struct {
	net.Conn
	listener *breakingListener
}

func (c breakingConn) Write(p []byte) (int, error) {
	if !c.listener.breakNext.CompareAndSwap(true, false) {
		return c.Conn.Write(p)
	}
	_, _ = c.Conn.Write(p[:len(p)/2])
	_ = c.Conn.Close()
	return 0, net.ErrClosed
}

// logBuffer holds the service's log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lineWith returns the first line that contains all of the words.
func (b *logBuffer) lineWith(words ...string) string {
	for line := range strings.Lines(b.String()) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
