package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// The longest times by which requests are late.
const (
	maxDelay  = 3 * time.Second        // of Delay, and of the copy of Duplicate
	maxBefore = 100 * time.Millisecond // from the arrival of a request until Cut
)

// An HTTP is a proxy between clients and a server. Its methods are safe for concurrent use.
//
// It never answers by itself. If the server cannot be reached, or closes its connection, the
// client's connection is closed.
type HTTP struct {
	URL string // for clients

	// Name returns the name of the server for the hits. If nil, hits have none. Elsewhere returns
	// the URL of the server that gets the copy of Duplicate. If nil, it is the same server. Both
	// must be set before the first request.
	Name      func() string
	Elsewhere func() string

	server    func() string
	record    func(history.Event)
	transport *http.Transport
	ctx       context.Context // ends with the test
	copies    sync.WaitGroup
	silent    gate
	slow      atomic.Int64

	mu    sync.Mutex
	armed []history.Action
	down  bool
	conns map[net.Conn]bool
}

// NewHTTP returns a proxy for the server whose URL the function returns for each request, until the
// test ends. Each request that is harmed is recorded as a history.Hit.
func NewHTTP(tb testing.TB, server func() string, record func(history.Event)) *HTTP {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &HTTP{
		server: server, record: record, ctx: ctx, conns: make(map[net.Conn]bool),
		transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
	}
	s := httptest.NewUnstartedServer(p)
	s.Config.ConnState = p.follow
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	p.URL = s.URL
	tb.Cleanup(func() {
		cancel()
		p.SetDown(true)
		s.Close()
		p.copies.Wait()
		p.transport.CloseIdleConnections()
	})
	return p
}

// Arm makes the next request with an Idempotency-Key suffer an action. Each call arms one request.
func (p *HTTP) Arm(a history.Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = append(p.armed, a)
}

// Armed returns how many actions no request has met.
func (p *HTTP) Armed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.armed)
}

// Disarm forgets the actions that no request has met.
func (p *HTTP) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = nil
}

// SetDown closes all connections, and each new one immediately. SetDown(false) ends that.
func (p *HTTP) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// SetSilent holds up requests and responses. SetSilent(false) lets them pass, if their clients
// still wait.
func (p *HTTP) SetSilent(silent bool) { p.silent.set(silent) }

// SetSlow makes each request take d longer.
func (p *HTTP) SetSlow(d time.Duration) { p.slow.Store(int64(d)) }

// CloseIdleConnections closes the connections to the server that no request uses.
func (p *HTTP) CloseIdleConnections() { p.transport.CloseIdleConnections() }

func (p *HTTP) follow(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.conns[c] = true
		if p.down {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		delete(p.conns, c)
	}
}

// ServeHTTP passes on a request, or harms it.
func (p *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !history.Sleep(r.Context(), time.Duration(p.slow.Load())) || !p.silent.wait(r.Context().Done()) {
		abort()
	}
	a, hit := p.take(r)
	if !hit {
		p.reply(r.Context(), w, r, body)
		return
	}
	switch a {
	case history.Delay: // it arrives also if the client is gone
		if !history.Sleep(p.ctx, random(maxDelay)) {
			abort()
		}
		p.reply(p.ctx, w, r, body)
	case history.Duplicate:
		p.copy(r, body)
		p.reply(r.Context(), w, r, body)
	case history.Cut:
		p.sendAndLeave(r, body)
		abort()
	case history.DropReply:
		if resp, err := p.send(r.Context(), p.server(), r, body); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		abort()
	case history.Half:
		p.sendHalf(r, body)
		abort()
	default: // history.Unsent
		abort()
	}
}

// abort closes the client's connection.
func abort() { panic(http.ErrAbortHandler) }

func random(limit time.Duration) time.Duration { return rand.N(limit) }

// take returns the action that the request suffers, and records it.
func (p *HTTP) take(r *http.Request) (a history.Action, hit bool) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return "", false
	}
	p.mu.Lock()
	if hit = len(p.armed) > 0; hit {
		a, p.armed = p.armed[0], p.armed[1:]
	}
	p.mu.Unlock()
	if hit {
		h := &history.Hit{
			Key: r.Header.Get("X-Principal") + "/" + key, Way: history.Way(strings.TrimPrefix(r.URL.Path, "/w/")),
			Window: history.OnTheWay, Action: a, At: history.Now(),
		}
		if p.Name != nil {
			h.Server = p.Name()
		}
		p.record(history.Event{Hit: h})
	}
	return a, hit
}

// reply passes on a request, and the response to the client.
func (p *HTTP) reply(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte) {
	resp, err := p.send(ctx, p.server(), r, body)
	if err != nil {
		abort()
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil || !p.silent.wait(r.Context().Done()) {
		abort()
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(content)
}

// copy sends a copy of a request, at the same time as the request or later.
func (p *HTTP) copy(r *http.Request, body []byte) {
	to := p.server
	if p.Elsewhere != nil {
		to = p.Elsewhere
	}
	var later time.Duration
	if rand.N(2) == 0 {
		later = random(maxDelay)
	}
	p.copies.Go(func() {
		if !history.Sleep(p.ctx, later) {
			return
		}
		if resp, err := p.send(p.ctx, to(), r, body); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}

// sendAndLeave sends a request, and closes the connection to the server before the response.
func (p *HTTP) sendAndLeave(r *http.Request, body []byte) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		time.AfterFunc(random(maxBefore), cancel)
	}}
	if resp, err := p.send(httptrace.WithClientTrace(ctx, trace), p.server(), r, body); err == nil {
		_ = resp.Body.Close()
	}
}

// sendHalf sends a request without the second half of its body. Closing the connection is the
// signal that nothing follows.
func (p *HTTP) sendHalf(r *http.Request, body []byte) {
	out, err := p.outgoing(p.ctx, p.server(), r, body)
	if err != nil {
		return
	}
	var b bytes.Buffer
	if err := out.Write(&b); err != nil {
		return
	}
	conn, err := new(net.Dialer).DialContext(p.ctx, "tcp", out.URL.Host)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(p.ctx, func() { _ = conn.Close() })
	defer stop()
	_, err = conn.Write(b.Bytes()[:b.Len()-(len(body)+1)/2])
	if half, ok := conn.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(maxDelay))
		_, _ = io.Copy(io.Discard, conn) // so that the server has seen the end
	}
}

// send sends a request to a server.
func (p *HTTP) send(ctx context.Context, server string, r *http.Request, body []byte) (*http.Response, error) {
	out, err := p.outgoing(ctx, server, r, body)
	if err != nil {
		return nil, err
	}
	return p.transport.RoundTrip(out)
}

func (p *HTTP) outgoing(ctx context.Context, server string, r *http.Request, body []byte) (*http.Request, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, errors.New("proxy: no server")
	}
	u.Path, u.RawPath, u.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	out := &http.Request{
		Method: r.Method, URL: u, Host: r.Host, Header: r.Header, ContentLength: int64(len(body)),
		ProtoMajor: 1, ProtoMinor: 1,
	}
	if len(body) > 0 {
		// Without GetBody, the transport does not send the request again by itself, as it would
		// because of the Idempotency-Key.
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	return out.WithContext(ctx), nil
}
