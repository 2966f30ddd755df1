package redistest

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/relay"
)

// A Proxy stands between clients and a server, and causes faults on the way. Its methods are safe
// for concurrent use.
type Proxy struct {
	*relay.Relay

	mu      sync.Mutex
	silent  bool          // swallow what clients send
	delay   time.Duration // hold back what clients send
	match   []byte        // DropReply waits for a request with this text
	dropped chan struct{} // closed when the reply was dropped
}

// NewProxy returns a proxy for the server at an address, until the test ends.
func NewProxy(tb testing.TB, server string) *Proxy {
	tb.Helper()
	p := &Proxy{}
	p.Relay = relay.Start(tb, server, p.pass)
	return p
}

// DropReply makes the proxy drop one reply of the server: that to the next request that contains
// the text. The server has then processed the request. The client sees its connection close, and
// the channel is closed.
func (p *Proxy) DropReply(text string) (dropped <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match, p.dropped = []byte(text), make(chan struct{})
	return p.dropped
}

// SetSilent swallows all that clients send, as a server would that accepts connections and never
// answers.
func (p *Proxy) SetSilent(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
}

// SetDelay makes all that clients send arrive later by a time, as on a slow network.
func (p *Proxy) SetDelay(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// pass copies in both directions, until one side is gone.
func (p *Proxy) pass(_ context.Context, client, server net.Conn) {
	drop := make(chan chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		p.requests(client, server, drop)
	})
	wg.Go(func() {
		defer client.Close()
		replies(server, client, drop)
	})
	wg.Wait()
}

// requests copies what the client sends.
func (p *Proxy) requests(client io.Reader, server io.Writer, drop chan<- chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		dropped, silent, delay := p.inspect(buf[:n])
		if dropped != nil {
			drop <- dropped
		} else if silent {
			n = 0
		}
		if n > 0 {
			time.Sleep(delay)
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// inspect returns the channel to close if the reply to the request must be dropped, whether the
// request must be swallowed, and for how long it must be held back.
func (p *Proxy) inspect(request []byte) (dropped chan struct{}, silent bool, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.match != nil && bytes.Contains(bytes.ToLower(request), bytes.ToLower(p.match)) {
		p.match = nil
		return p.dropped, false, p.delay
	}
	return nil, p.silent, p.delay
}

// replies copies what the server sends, until a reply is dropped.
func replies(server io.Reader, client io.Writer, drop <-chan chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		select {
		case dropped := <-drop:
			close(dropped)
			return
		default:
		}
		if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
