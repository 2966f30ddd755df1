package redislimit

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// denials remembers denials, so that a caller that goes on without waiting costs no calls.
//
// It is exact: after a denial, the bucket cannot hold the cost before the wait is over, counted
// from the time at which the call was sent, and other charges only make the wait longer. Units
// that another process gives back, with Adjust or Reset, are the exception. A denial is kept for
// a second at most, which is also the least Retry-After, so a caller that waits as it is told
// never notices.
//
// The table has a fixed size. A denial takes the place of an earlier one with the same index.
type denials struct {
	seed   maphash.Seed
	table  [maxDenials]atomic.Pointer[denial]
	epochs [maxDenials]atomic.Uint32 // by key: changes when units may have come back to a bucket
}

const (
	maxDenials = 8192
	maxKept    = time.Second
)

// denial is a group that was denied. It does not change.
type denial struct {
	*group
	waits []time.Duration // after which each denied charge is allowed; 0 if it was allowed
	epoch uint32
}

func newDenials() *denials { return &denials{seed: maphash.MakeSeed()} }

func (d *denials) index(key string) uint64 { return maphash.String(d.seed, key) % maxDenials }

func (d *denials) slot(keys []string) *atomic.Pointer[denial] {
	var sum uint64
	for _, k := range keys {
		sum += maphash.String(d.seed, k)
	}
	return &d.table[sum%maxDenials]
}

// epoch returns a number that changes when units may have come back to one of the buckets.
func (d *denials) epoch(keys []string) (sum uint32) {
	for _, k := range keys {
		sum += d.epochs[d.index(k)].Load()
	}
	return sum
}

// forget drops the denials of a bucket, also those of calls that are under way.
func (d *denials) forget(key string) { d.epochs[d.index(key)].Add(1) }

// add remembers a group if it was denied. epoch is that from before the call.
func (d *denials) add(g *group, epoch uint32) {
	waits, denied := make([]time.Duration, len(g.charges)), false
	for i, r := range g.results {
		if r.allowed {
			continue
		}
		denied = true
		if waits[i] = waitFor(g.charges[i], r.full); waits[i] == 0 || waits[i] > maxKept {
			waits[i] = maxKept
		}
	}
	if denied {
		d.slot(g.keys).Store(&denial{g, waits, epoch})
		return
	}
	for _, k := range g.keys {
		d.forget(k)
	}
}

// find sets the decisions about a group, and reports true, if the group is still denied.
func (d *denials) find(g *group, now time.Time, into []ratelimit.Decision) bool {
	slot := d.slot(g.keys)
	e := slot.Load()
	if e == nil || !slices.Equal(e.keys, g.keys) || e.epoch != d.epoch(g.keys) {
		return false
	}
	denied := false
	for i, c := range g.charges {
		if c.Limit != e.charges[i].Limit {
			slot.CompareAndSwap(e, nil) // the bucket gets another limit, and another wait
			return false
		}
		denied = denied || e.denies(i, c, now)
	}
	if !denied {
		return false
	}
	for i, c := range g.charges {
		r := e.results[i]
		age := now.Sub(e.received)
		r.allowed = !e.denies(i, c, now) && holds(c, max(r.full-age, 0))
		into[i] = decide(c, r, age)
	}
	return true
}

// denies reports whether the charge i is still denied.
func (e *denial) denies(i int, c ratelimit.Charge, now time.Time) bool {
	return e.waits[i] > 0 && c.Cost >= e.charges[i].Cost && now.Before(e.sent.Add(e.waits[i]))
}
