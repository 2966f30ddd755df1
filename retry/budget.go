package retry

import (
	"sync"
	"time"
)

// A Budget bounds how much load retries may add. It holds a bucket of tokens for every group (see
// [Transport.Group]): a retry takes a token, and a success puts a tenth of one back. So does every
// second, so that a quiet client can still retry. In any time t the retries to a group are at most
// Tokens + PerSuccess x successes + PerSecond x t. In an outage a client therefore sends a tenth
// more than it would without retries, not three times as much. A first attempt never needs a token.
//
// The zero value is the default budget. One Budget may serve several Transports and calls of [Do],
// which share the bucket of the group "". It must not be copied or changed after its first use. It
// takes about 200 bytes for every group whose bucket is not full.
type Budget struct {
	// Tokens is what a bucket holds at most, and at the start. 0 is 10. If negative, there is no
	// budget and retries are not bounded. Below 1, nothing is ever retried.
	Tokens float64

	// PerSuccess is what a response below 400 puts back. 0 is 0.1; negative is nothing.
	PerSuccess float64

	// PerSecond is what a second puts back. 0 is 0.1; negative is nothing.
	PerSecond float64

	// MaxGroups bounds the number of buckets that are not full. When there are more, the one that
	// is full again first is forgotten, which makes it full. 0 is 1,024; negative is no limit.
	MaxGroups int

	mu      sync.Mutex
	buckets table[string, *bucket] // those that are not full, worth the time when they will be
}

type bucket struct {
	tokens float64
	at     time.Time // when tokens was right
}

// take takes the token for a retry, if there is one.
func (b *Budget) take(group string) bool {
	if b.Tokens < 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.forgetFull()
	const rounding = 1e-9 // ten tenths are a little less than one
	e := b.buckets.get(group)
	if e == nil {
		if b.most() < 1-rounding {
			return false
		}
		k := &bucket{tokens: max(b.most()-1, 0), at: now}
		b.buckets.put(group, k, b.worth(k), limit(b.MaxGroups, defaultMaxGroups))
		return true
	}
	k := e.value
	b.fill(k, now)
	if k.tokens < 1-rounding {
		return false
	}
	k.tokens = max(k.tokens-1, 0)
	b.buckets.rate(e, b.worth(k))
	return true
}

// refund puts back the token of a retry that was not sent after all.
func (b *Budget) refund(group string) { b.add(group, 1) }

func (b *Budget) succeeded(group string) { b.add(group, max(orDefault(b.PerSuccess, 0.1), 0)) }

func (b *Budget) add(group string, tokens float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.buckets.get(group)
	if e == nil {
		return
	}
	b.fill(e.value, time.Now())
	e.value.tokens += tokens
	if e.value.tokens >= b.most() {
		b.buckets.remove(e)
		return
	}
	b.buckets.rate(e, b.worth(e.value))
}

// full reports whether all buckets are, so that a success has nothing to put back.
func (b *Budget) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buckets.least() == nil {
		return true
	}
	b.forgetFull()
	return b.buckets.least() == nil
}

// forgetFull removes the buckets that time has filled, and returns the time. The clock is read
// under the lock, or a bucket that was full and is made again would be credited with the time
// before.
func (b *Budget) forgetFull() time.Time {
	now := time.Now()
	for e := b.buckets.least(); e != nil; e = b.buckets.least() {
		b.fill(e.value, now)
		if e.value.tokens < b.most() {
			break
		}
		b.buckets.remove(e)
	}
	return now
}

// fill puts into a bucket what the time since it was last used does.
func (b *Budget) fill(k *bucket, now time.Time) {
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(k.tokens+d.Seconds()*b.perSecond(), b.most())
		k.at = now
	}
}

// worth is the time when a bucket is full again, in seconds, or what it lacks if time fills none.
// Either does not change while time passes.
func (b *Budget) worth(k *bucket) float64 {
	lacks := b.most() - k.tokens
	if b.perSecond() == 0 {
		return lacks
	}
	return seconds(k.at) + lacks/b.perSecond()
}

func (b *Budget) most() float64 { return orDefault(b.Tokens, 10) }

func (b *Budget) perSecond() float64 { return max(orDefault(b.PerSecond, 0.1), 0) }

// seconds is a time as a number, for an order of times.
func seconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }
