package proxy

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/relay"
)

// A TCP is a proxy for the connections to a store. Its methods are safe for concurrent use.
type TCP struct {
	*relay.Relay

	silent gate // for requests
	deaf   gate // for replies
	slow   atomic.Int64
	cut    atomic.Uint64 // the share of replies in 2^63
}

// NewTCP returns a proxy for the store at an address, until the test ends.
func NewTCP(tb testing.TB, store string) *TCP {
	tb.Helper()
	p := &TCP{}
	p.Relay = relay.Start(tb, store, p.both)
	return p
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

// both copies in both directions, until one side is gone.
func (p *TCP) both(ctx context.Context, client, store net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer store.Close()
		p.pass(ctx, client, store, &p.silent, nil)
	})
	wg.Go(func() {
		defer client.Close()
		p.pass(ctx, store, client, &p.deaf, &p.cut)
	})
	wg.Wait()
}

// pass copies what one side sends, through a gate. What was read before the sender was gone still
// passes.
func (p *TCP) pass(ctx context.Context, from, to net.Conn, g *gate, cut *atomic.Uint64) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !g.wait(ctx.Done()) || !history.Sleep(ctx, time.Duration(p.slow.Load())) {
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
