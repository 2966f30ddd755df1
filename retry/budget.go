package retry

import (
	"sync"
	"time"
)

// A Budget bounds how much load retries may add. It holds a bucket of tokens per host: a retry takes one, a success puts a
// tenth of one back, and so does every second, so that a quiet client can still retry. In any time t the retries to a host
// are at most Tokens + PerSuccess x successes + PerSecond x t. In an outage a client therefore sends a tenth more than it
// would without retries, not three times as much. A first attempt never needs a token.
//
// The zero value is the default budget. One Budget may serve several Transports and calls of [Do] (all of which share the
// bucket of the host ""). It must not be copied or changed after its first use. It takes about 300 bytes for every host
// whose bucket is not full.
type Budget struct {
	// Tokens is what a bucket holds at most, and at the start. 0 is 10; negative: no budget, retries are not bounded.
	Tokens float64

	// PerSuccess is what an answer below 400 puts back. 0 is 0.1; negative is nothing.
	PerSuccess float64

	// PerSecond is what a second puts back. 0 is 0.1; negative is nothing.
	PerSecond float64

	// MaxHosts bounds the number of buckets that are not full; the one used longest ago is forgotten, which is to say full.
	// 0 is 1,024; negative: no limit.
	MaxHosts int

	mu    sync.Mutex
	hosts lru[host, *bucket] // of hosts that were retried and whose bucket has not been full since
}

type bucket struct {
	tokens float64
	at     time.Time // when tokens was right
}

// take takes the token for a retry, if there is one.
func (b *Budget) take(h host) bool {
	if b.Tokens < 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.hosts.get(h)
	if !ok {
		k = &bucket{tokens: b.most(), at: time.Now()}
		b.hosts.put(h.clone(), k, limit(b.MaxHosts, defaultMaxHosts))
	}
	b.fill(k)
	const rounding = 1e-9 // ten tenths are a little less than one
	if k.tokens < 1-rounding {
		return false
	}
	k.tokens = max(k.tokens-1, 0)
	return true
}

// refund puts back the token of a retry that was not sent after all.
func (b *Budget) refund(h host) { b.add(h, 1) }

func (b *Budget) succeeded(h host) { b.add(h, max(orDefault(b.PerSuccess, 0.1), 0)) }

func (b *Budget) add(h host, tokens float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.hosts.get(h)
	if !ok {
		return
	}
	b.fill(k)
	k.tokens += tokens
	if k.tokens >= b.most() {
		b.hosts.remove(h)
	}
}

// full tells whether all buckets are, so that a success has nothing to put back.
func (b *Budget) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.hosts.entries) == 0
}

// fill puts into a bucket what the time since it was last used does. The clock is read under the lock, or a bucket that was full
// and is made again would be credited with the time before.
func (b *Budget) fill(k *bucket) {
	now := time.Now()
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(k.tokens+d.Seconds()*max(orDefault(b.PerSecond, 0.1), 0), b.most())
		k.at = now
	}
}

func (b *Budget) most() float64 { return orDefault(b.Tokens, 10) }
