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
// from the time at which the call was sent, and other charges with its limit only make the wait
// longer. Units that come back in another way are the exception, if this process does not see
// that. A denial is kept for a second at most, which is also the least Retry-After, so a caller
// that waits as it is told never notices.
//
// The table has a fixed size. A denial takes the place of an earlier one with the same index. A
// group with long keys or many rules is not remembered.
type denials struct {
	seed   maphash.Seed
	table  [maxDenials]atomic.Pointer[denial]
	epochs [maxDenials]atomic.Uint32 // by key: changes when units may have come back to a bucket
}

const (
	maxDenials = 8192
	maxKept    = time.Second
	maxSize    = 2048 // bytes of a denial, about
)

// denial is a group that was denied. It does not change.
type denial struct {
	charges  []ratelimit.Charge
	results  []result
	sent     time.Time
	received time.Time
	waits    []time.Duration // after which each denied charge is allowed; 0 if it was allowed
	epoch    uint32
}

func newDenials() *denials { return &denials{seed: maphash.MakeSeed()} }

// index returns the place of a bucket.
func (d *denials) index(c ratelimit.Charge) uint64 {
	return maphash.Comparable(d.seed, [2]string{c.Rule, c.Key}) % maxDenials
}

func (d *denials) slot(charges []ratelimit.Charge) *atomic.Pointer[denial] {
	var sum uint64
	for _, c := range charges {
		sum += d.index(c)
	}
	return &d.table[sum%maxDenials]
}

// epoch returns a number that changes when the units in one of the buckets may have changed
// other than by time.
func (d *denials) epoch(charges []ratelimit.Charge) (sum uint32) {
	for _, c := range charges {
		sum += d.epochs[d.index(c)].Load()
	}
	return sum
}

// forget drops the denials of a bucket, also those of calls that are under way.
func (d *denials) forget(c ratelimit.Charge) { d.epochs[d.index(c)].Add(1) }

// add remembers a group if it was denied. epoch is the one from before the call.
func (d *denials) add(g *group, epoch uint32, clock func() time.Time) {
	if !slices.ContainsFunc(g.results, func(r result) bool { return !r.allowed }) {
		for _, c := range g.charges {
			d.forget(c)
		}
		return
	}
	if sizeOf(g.charges) > maxSize {
		return
	}
	e := &denial{
		charges: g.charges, results: g.results, sent: g.sent, received: clock(),
		waits: make([]time.Duration, len(g.charges)), epoch: epoch,
	}
	for i, r := range g.results {
		if r.allowed {
			continue
		}
		if e.waits[i] = waitFor(g.charges[i], r.full); e.waits[i] == 0 || e.waits[i] > maxKept {
			e.waits[i] = maxKept
		}
	}
	d.slot(g.charges).Store(e)
}

// sizeOf returns about the number of bytes that a denial of charges takes.
func sizeOf(charges []ratelimit.Charge) (size int) {
	for _, c := range charges {
		size += 128 + len(c.Rule) + len(c.Key)
	}
	return size
}

// find sets the decisions about charges, and reports true, if they are still denied.
func (d *denials) find(charges []ratelimit.Charge, into []ratelimit.Decision, clock func() time.Time) bool {
	slot := d.slot(charges)
	e := slot.Load()
	if e == nil || !slices.EqualFunc(e.charges, charges, sameBucket) || e.epoch != d.epoch(charges) {
		return false
	}
	now, denied := clock(), false
	for i, c := range charges {
		if c.Limit != e.charges[i].Limit {
			slot.CompareAndSwap(e, nil) // the bucket gets another limit, and another wait
			return false
		}
		denied = denied || e.denies(i, c, now)
	}
	if !denied {
		return false
	}
	age := now.Sub(e.received)
	for i, c := range charges {
		r := e.results[i]
		r.allowed = !e.denies(i, c, now) && holds(c, max(r.full-age, 0))
		into[i] = decide(c, r, age)
	}
	return true
}

// denies reports whether the charge i is still denied.
func (e *denial) denies(i int, c ratelimit.Charge, now time.Time) bool {
	return e.waits[i] > 0 && c.Cost >= e.charges[i].Cost && now.Before(e.sent.Add(e.waits[i]))
}
