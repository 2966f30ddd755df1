// Package memhttp runs a real net/http server and client in memory, for tests. It does not
// use the network, and waits only for channels, condition variables and timers, so it works
// inside a testing/synctest bubble.
package memhttp

import (
	"context"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/seawall-go/seawall/internal/logbuf"
)

// Server is a running server, made by [New] or [NewHTTP2].
type Server struct {
	// URL is the server's base address, without a trailing slash. The client reaches the server
	// under any other host name too.
	URL string

	server    *http.Server
	transport *http.Transport
	listener  *listener
	log       logbuf.Buffer
	http2     bool

	mu       sync.Mutex
	closing  bool
	active   map[net.Conn]bool // connections that are reading a request, running a handler, or writing its response
	handlers sync.WaitGroup
	serving  sync.WaitGroup // goroutines that net/http runs for connections
}

// New starts a server whose client speaks HTTP/1.1. The caller must call [Server.Close].
func New(h http.Handler) *Server { return start(h, false, nil) }

// NewHTTP2 starts a server whose client speaks HTTP/2 without TLS, with prior knowledge (RFC
// 9113, section 3.3). The caller must call [Server.Close].
func NewHTTP2(h http.Handler) *Server { return start(h, true, nil) }

// NewConfigured is [New] for a server on which configure sets timeouts or a base context.
func NewConfigured(h http.Handler, configure func(*http.Server)) *Server {
	return start(h, false, configure)
}

func start(h http.Handler, http2 bool, configure func(*http.Server)) *Server {
	s := &Server{
		URL:      "http://api.example",
		listener: newListener(),
		http2:    http2,
		active:   make(map[net.Conn]bool),
	}
	both, only := new(http.Protocols), new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	only.SetHTTP1(!http2)
	only.SetUnencryptedHTTP2(http2)
	s.server = &http.Server{ //nolint:gosec // G112: only the test reaches it
		Handler:   s.counted(h),
		Protocols: both,
		ErrorLog:  log.New(&s.log, "", 0),
		ConnState: s.connState,
	}
	if configure != nil {
		configure(s.server)
	}
	s.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.listener.dial(ctx) },
		Protocols:   only,
	}
	go func() { _ = s.server.Serve(s.listener) }() // ends with Close
	return s
}

// Client returns a new client of the server, over [Server.Transport].
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.transport} }

// Transport returns the transport that the server's clients share, so that a RoundTripper
// under test can wrap it. Do not change it.
func (s *Server) Transport() *http.Transport { return s.transport }

// Dial opens a connection to the server, for bytes that no client would send. The caller
// must close it. The connection has a CloseWrite method.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.listener.dial(ctx) }

// Log returns what the server has logged so far, such as panics and superfluous calls of
// WriteHeader. It is complete after Close.
func (s *Server) Log() string { return s.log.String() }

// Close stops accepting connections, waits until the running handlers have returned, gives
// their responses a moment to arrive, and closes all connections. It may be called more
// than once. Like [net/http/httptest.Server.Close], it waits forever for a handler that
// does not return.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.handlers.Wait()
	// The responses get a moment to arrive. Some clients never read theirs.
	for range 100 {
		s.transport.CloseIdleConnections()
		if s.quiet() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.server.Close()
	s.listener.closeConns() // the hijacked ones
	s.transport.CloseIdleConnections()
	s.serving.Wait() // net/http sleeps for half a second after it has ended a connection early
}

// counted returns a handler that calls h. Close waits until these calls have returned.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		s.handlers.Add(1)
		s.mu.Unlock()
		defer s.handlers.Done()
		defer s.logPanic(r)
		h.ServeHTTP(w, r)
	})
}

// logPanic logs a handler's panic as net/http does, but before the connection is closed.
// For HTTP/2, net/http would log it only after that.
func (s *Server) logPanic(r *http.Request) {
	e := recover()
	if e == nil {
		return
	}
	if e != http.ErrAbortHandler { //nolint:errorlint // as net/http compares
		s.server.ErrorLog.Printf("http: panic serving %v: %v\n%s", r.RemoteAddr, e, debug.Stack())
	}
	panic(http.ErrAbortHandler)
}

func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.serving.Add(1)
	case http.StateActive:
		s.active[c] = true
	case http.StateIdle:
		delete(s.active, c)
	case http.StateHijacked, http.StateClosed:
		delete(s.active, c)
		s.serving.Done()
	}
}

// quiet reports whether all responses have been written. An HTTP/2 connection is called
// idle while its last frame may still be in a buffer, so there the client must have closed
// the connection.
func (s *Server) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) == 0 && (!s.http2 || s.listener.open() == 0)
}
