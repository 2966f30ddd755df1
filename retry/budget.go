package retry

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Budget bounds the load that retries add. It keeps a token bucket for every group (see
// [Transport.Group]). A retry takes a token. Every success adds a tenth of a token. Every
// second adds a tenth too, so that a client with few calls can still retry. In any t
// seconds, the number of retries to a group is at most
//
//	Tokens + PerSuccess x successes + PerSecond x t
//
// With many calls, retries therefore add at most about a tenth to the load, even in an
// outage, instead of tripling it. A first attempt never needs a token.
//
// The zero value is a budget with the defaults. Several Transports, and calls of [Do],
// may share a Budget. All calls of Do use the bucket of the group "". A Budget must not
// be copied or changed after its first use. It takes about 200 bytes for every group
// whose bucket is not full.
type Budget struct {
	// Tokens is the number of tokens that a bucket holds. A new bucket is full. The
	// default is 10. If negative, the number of retries is not limited. If greater than 0
	// but less than 1, nothing is ever retried.
	Tokens float64

	// PerSuccess is the number of tokens that a success adds: a response with a status
	// below 400 or, in [Do], a nil error. The default is 0.1. If negative, a success adds
	// none.
	PerSuccess float64

	// PerSecond is the number of tokens that come back in a second. The default is 0.1.
	// If negative, time adds none.
	PerSecond float64

	// MaxGroups is the largest number of buckets to keep. Full buckets are not kept. If
	// there are more buckets, the Budget forgets the one that would be full first. A
	// forgotten bucket counts as full. The default is 1,024. If negative, there is no
	// limit.
	MaxGroups int

	mu      sync.Mutex
	buckets table[string, *bucket] // those that are not full; their worth is when they will be
}

type bucket struct {
	tokens float64
	at     time.Time // when it had them
}

// A Bucket describes the bucket of a group in a [Budget], at one moment.
type Bucket struct {
	// Group is the name of the group: see [Transport.Group].
	Group string

	// Tokens is the number of tokens that are left. With less than 1, the group's next retry is
	// not made.
	Tokens float64
}

// Bucket returns the bucket of a group. A group without retries has a full one. If the number of
// retries is not limited, Tokens is infinite.
func (b *Budget) Bucket(group string) Bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := Bucket{group, b.size()}
	if b.Tokens < 0 {
		full.Tokens = math.Inf(1)
	}
	if e := b.buckets.entries[group]; e != nil {
		return b.snapshot(e, time.Now())
	}
	return full
}

// Buckets returns the buckets that are not full, sorted by group.
func (b *Budget) Buckets() []Bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.forgetFull(now)
	all := make([]Bucket, 0, len(b.buckets.entries))
	for _, e := range b.buckets.entries {
		all = append(all, b.snapshot(e, now))
	}
	slices.SortFunc(all, func(x, y Bucket) int { return strings.Compare(x.Group, y.Group) })
	return all
}

// snapshot describes the bucket of an entry. The caller holds mu.
func (b *Budget) snapshot(e *entry[string, *bucket], now time.Time) Bucket {
	b.fill(e.value, now)
	return Bucket{e.key, e.value.tokens}
}

// take takes the token for a retry. It reports whether there was one.
func (b *Budget) take(group string) bool {
	if b.Tokens < 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now() // with the lock held, or a new bucket could be credited with the time before
	b.forgetFull(now)
	const rounding = 1e-9 // ten tenths are a little less than one
	e := b.buckets.get(group)
	k := &bucket{tokens: b.size(), at: now} // of a group without an entry
	if e != nil {
		k = e.value
		b.fill(k, now)
	}
	if k.tokens < 1-rounding {
		return false
	}
	k.tokens = max(k.tokens-1, 0)
	if e == nil {
		b.buckets.put(group, k, b.worth(k), limit(b.MaxGroups, defaultMaxGroups))
	} else {
		b.buckets.setWorth(e, b.worth(k))
	}
	return true
}

// refund puts back the token of a retry that was not sent.
func (b *Budget) refund(group string) { b.add(group, 1) }

// succeeded adds the tokens of a success.
func (b *Budget) succeeded(group string) { b.add(group, max(cmp.Or(b.PerSuccess, 0.1), 0)) }

func (b *Budget) add(group string, tokens float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.buckets.get(group)
	if e == nil {
		return // it is full
	}
	b.fill(e.value, time.Now())
	e.value.tokens += tokens
	if e.value.tokens >= b.size() {
		b.buckets.remove(e)
		return
	}
	b.buckets.setWorth(e, b.worth(e.value))
}

// forgetFull removes the buckets that are full by now.
func (b *Budget) forgetFull(now time.Time) {
	for e := b.buckets.least(); e != nil; e = b.buckets.least() {
		b.fill(e.value, now)
		if e.value.tokens < b.size() {
			return
		}
		b.buckets.remove(e)
	}
}

// fill adds the tokens that have come back since the bucket was last filled.
func (b *Budget) fill(k *bucket, now time.Time) {
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(k.tokens+d.Seconds()*b.perSecond(), b.size())
		k.at = now
	}
}

// worth returns the time when a bucket will be full, in seconds. If PerSecond adds no
// tokens, it returns the number of tokens that are missing. Neither changes as time
// passes.
func (b *Budget) worth(k *bucket) float64 {
	lacks := b.size() - k.tokens
	if b.perSecond() == 0 {
		return lacks
	}
	return seconds(k.at) + lacks/b.perSecond()
}

func (b *Budget) size() float64 { return cmp.Or(b.Tokens, 10) }

func (b *Budget) perSecond() float64 { return max(cmp.Or(b.PerSecond, 0.1), 0) }

// seconds returns a time as a number of seconds, for comparisons.
func seconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }
