package ratelimit

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	sampled   = 8           // entries that are compared to find the one to evict
	reclaimed = 2           // entries that are checked for a full bucket whenever one is added
	idle      = time.Minute // how long a full bucket is kept while there is room
)

// shard is one part of a Memory. Its methods, except take and stats, need the lock, and
// use the time that advance has set.
type shard struct {
	mu sync.Mutex
	table
	refuse  bool      // whether a new key is refused when the table is full
	now     time.Time // the latest time seen
	since   time.Time // when the first bucket was made
	hand    uint32    // the slot that reclaim checked last
	evicted int64
	refused int64
}

// advance moves the clock of the shard to now. The clock never goes back. With an older
// time, a rate.Limiter would go back too, and would later add the units of the same span
// again. Also, a bucket that was dropped when it was full was not full at the older time.
func (s *shard) advance(now time.Time) {
	if now.After(s.now) {
		s.now = now
	}
}

// bucket returns the entry of a bucket, or nil if there is none. A bucket without an
// entry is full.
func (s *shard) bucket(id bucketID) *entry {
	_, e := s.find(id)
	return e
}

// take takes a single charge.
func (s *shard) take(now time.Time, id bucketID, c *Charge) (Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	e := s.bucket(id)
	if e == nil && c.needsBucket() {
		if e = s.insert(id, c.Limit, nil); e == nil {
			return Decision{}, ErrFull
		}
	}
	allowed := s.charge(e, c)
	return decide(e, s.now, c, allowed), nil
}

// charge takes the units of c from the bucket if it holds as many, and reports whether
// the charge is allowed. The entry may be nil if c needs no bucket.
func (s *shard) charge(e *entry, c *Charge) bool {
	if !c.needsBucket() {
		return c.Cost == 0
	}
	if e.limit != c.Limit.filled() {
		s.setLimit(e, c.Limit)
	}
	return e.bucket.AllowN(s.now, c.Cost)
}

// setLimit gives a bucket another limit. Its units stay, up to the new burst.
func (s *shard) setLimit(e *entry, l Limit) {
	e.owes = uint32(ceilSecond(s.now.Sub(s.since)+s.untilFull(e, s.now)) / time.Second)
	e.limit = l.filled()
	e.bucket.SetLimitAt(s.now, l.rate())
	e.bucket.SetBurstAt(s.now, l.burst())
}

// refund gives back the units that a charge has just taken. The result is exact: taking
// whole units from a larger float64, and adding them again, rounds nothing.
func (s *shard) refund(id bucketID, cost int) {
	if e := s.bucket(id); e != nil {
		e.bucket.AllowN(s.now, -cost)
	}
}

// adjust takes units even if the bucket holds fewer, or gives them back if the cost is
// negative.
func (s *shard) adjust(id bucketID, c *Charge) error {
	e := s.bucket(id)
	switch {
	case c.Cost == 0 || e == nil && c.Cost < 0:
		return nil
	case e == nil:
		if e = s.insert(id, c.Limit, nil); e == nil {
			return ErrFull
		}
	}
	// ReserveN can take what the bucket does not hold, but no more than a burst.
	burst := e.limit.Burst
	e.bucket.SetBurstAt(s.now, max(burst, c.Cost))
	e.bucket.ReserveN(s.now, c.Cost)
	e.bucket.SetBurstAt(s.now, burst)
	return nil
}

// insert adds a full bucket. It returns nil if there is no room for one. The buckets in
// keep are not dropped to make room.
func (s *shard) insert(id bucketID, l Limit, keep []bucketID) *entry {
	if s.since.IsZero() {
		s.since = s.now
	}
	s.reclaim()
	if s.full() && !s.makeRoom(keep) {
		s.refused++
		return nil
	}
	e := s.add(id)
	e.limit = l.filled()
	// A zero rate.Limiter was empty in the year 1. With its limit since then, it is full
	// now.
	e.bucket.SetBurstAt(time.Time{}, l.burst())
	e.bucket.SetLimitAt(time.Time{}, l.rate())
	return e
}

// reclaim drops full buckets, since a full bucket is the same as no bucket. It checks two
// buckets for each one that is added, so it keeps up with any number of new keys. While
// there is room, it keeps full buckets for a minute, since their keys may come back.
func (s *shard) reclaim() {
	at := s.now
	if !s.full() {
		at = at.Add(-idle)
	}
	for range min(reclaimed, s.used) {
		s.hand = s.hand%s.used + 1
		if e := s.at(s.hand); e.limit != (Limit{}) && s.untilFull(e, at) == 0 {
			s.remove(s.hand)
		}
	}
}

// makeRoom drops a bucket from a full table, and reports whether it did. Dropping a
// bucket that is not full is an eviction. A shard with refuse set never evicts.
func (s *shard) makeRoom(keep []bucketID) bool {
	slot, untilFull := s.fullest(keep)
	if slot == 0 || untilFull > 0 && s.refuse {
		return false
	}
	if untilFull > 0 {
		s.evicted++
	}
	s.remove(slot)
	return true
}

// fullest returns, from a random sample, the slot of the bucket that is full the soonest,
// and the time until then. If it evicted the least recently used bucket instead, a caller
// could drain its bucket and then evict it with a flood of new keys. The slot is 0 if all
// buckets of the sample are in keep.
func (s *shard) fullest(keep []bucketID) (fullest uint32, untilFull time.Duration) {
	slot := rand.Uint32N(s.used)
	for range min(sampled+len(keep), int(s.used)) {
		slot = slot%s.used + 1
		e := s.at(slot)
		if slices.Contains(keep, e.id) {
			continue
		}
		if d := s.untilFull(e, s.now); fullest == 0 || d < untilFull {
			fullest, untilFull = slot, d
		}
	}
	return fullest, untilFull
}

// untilFull returns the time until the bucket can be dropped, which is when it is full by
// its limit and by all of its earlier limits. Otherwise, a bucket that was drained under
// a large limit could be dropped when it is full under a small one, and would come back
// as a full bucket of the large limit.
func (s *shard) untilFull(e *entry, at time.Time) time.Duration {
	owed := max(time.Duration(e.owes)*time.Second-at.Sub(s.since), 0)
	missing := float64(e.limit.Burst) - e.bucket.TokensAt(at)
	if missing <= 0 {
		return owed
	}
	return max(owed, e.limit.refill(missing), 1)
}

// stats adds the numbers of the shard to sum.
func (s *shard) stats(sum *MemoryStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.Keys += int(s.live)
	sum.Evicted += s.evicted
	sum.Refused += s.refused
}
