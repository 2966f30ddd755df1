// Package memhttp runs a real net/http server and client over memory, for tests and examples.
// Nothing in it touches the network or waits for anything but channels, condition variables and
// timers, so it works inside a testing/synctest bubble.
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
	// URL is the server's base address, without a trailing slash. Its client reaches the server
	// under every other host name too.
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

// NewConfigured is [New] for a server that configure has set timeouts or a base context of.
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
	s.server = &http.Server{ //nolint:gosec // G112: no stranger reaches it, and a time-out would show in fake time
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

// Transport returns the transport that the server's clients share, for a RoundTripper under test
// to wrap. Do not change it.
func (s *Server) Transport() *http.Transport { return s.transport }

// Dial opens a connection to the server, to write to it what no client would. The caller closes
// it. It also has a CloseWrite method.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.listener.dial(ctx) }

// Log returns what the server has logged so far: panics, superfluous calls of WriteHeader, and
// the like. After Close it is complete.
func (s *Server) Log() string { return s.log.String() }

// Close stops taking connections, waits for the handlers that run to return and for their
// responses to be written, and then closes every connection. It may be called more than once. It
// waits forever, like [net/http/httptest.Server.Close], for a handler that does not return.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.handlers.Wait()
	// The responses are under way now. They get a moment to arrive, no more: a client may be one
	// that never reads them.
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
	s.serving.Wait() // net/http sleeps for half a second where it ended a connection early
}

// counted is h, known to Close while it runs.
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

// logPanic logs a handler's panic as net/http does, but before the client can know of it. Over
// HTTP/2 net/http logs afterwards.
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

// quiet reports whether every response has been handed over. An HTTP/2 connection is called idle
// while its last frame may still be in a buffer; there, only the client knows, and closes the
// connection when it has everything.
func (s *Server) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) == 0 && (!s.http2 || s.listener.open() == 0)
}
