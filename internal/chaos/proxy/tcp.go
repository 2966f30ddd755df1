package proxy

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A TCP is a proxy for the connections to a store. Its methods are safe for concurrent use.
type TCP struct {
	Addr string // for clients

	store  string
	ctx    context.Context // ends with the test
	silent gate            // for requests
	deaf   gate            // for replies
	slow   atomic.Int64
	cut    atomic.Uint64 // the share of replies in 2^63

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool // those of clients
}

// NewTCP returns a proxy for the store at an address, until the test ends.
func NewTCP(tb testing.TB, store string) *TCP {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &TCP{Addr: l.Addr().String(), store: store, ctx: ctx, conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	wg.Go(func() { p.serve(l, &wg) })
	tb.Cleanup(func() {
		_ = l.Close()
		cancel()
		wg.Wait()
	})
	return p
}

// SetDown closes all connections, and each new one immediately. SetDown(false) ends that.
func (p *TCP) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// SetSilent holds up what clients send. SetSilent(false) lets it pass, also if the client is gone
// then: a network that lost packets for a while sends them again.
func (p *TCP) SetSilent(silent bool) { p.silent.set(silent) }

// SetDeaf holds up what the store sends, as SetSilent does in the other direction. The store
// receives and executes requests meanwhile.
func (p *TCP) SetDeaf(deaf bool) { p.deaf.set(deaf) }

// SetSlow adds d to the way of requests, and of replies.
func (p *TCP) SetSlow(d time.Duration) { p.slow.Store(int64(d)) }

// SetCut closes the client's connection instead of passing on a reply, for a share of the replies
// from 0 to 1. The store has executed the request then.
func (p *TCP) SetCut(share float64) { p.cut.Store(uint64(share * (1 << 63))) }

func (p *TCP) serve(l net.Listener, wg *sync.WaitGroup) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		if !p.admit(client) {
			_ = client.Close()
			continue
		}
		wg.Go(func() { p.relay(client) })
	}
}

func (p *TCP) admit(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		p.conns[client] = true
	}
	return !p.down
}

func (p *TCP) relay(client net.Conn) {
	defer func() {
		_ = client.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
	}()
	store, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.store)
	if err != nil {
		return
	}
	stop := context.AfterFunc(p.ctx, func() {
		_ = client.Close()
		_ = store.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer store.Close()
		p.pass(client, store, &p.silent, nil)
	})
	wg.Go(func() {
		defer client.Close()
		p.pass(store, client, &p.deaf, &p.cut)
	})
	wg.Wait()
}

// pass copies what one side sends, through a gate. What was read before the sender was gone still
// passes.
func (p *TCP) pass(from, to net.Conn, g *gate, cut *atomic.Uint64) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !g.wait(p.ctx.Done()) || !sleep(p.ctx, time.Duration(p.slow.Load())) {
				return
			}
			if cut != nil && rand.Uint64()>>1 < cut.Load() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sleep returns false if the context ends before d has passed.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
