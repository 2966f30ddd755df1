package ratelimit

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	perBlock = 68          // entries, which fill 8 KiB with the word that the runtime puts before them
	sample   = 8           // entries that are looked at to find room at the cap
	reclaim  = 2           // entries that are looked at, for full buckets, whenever one is made
	idle     = time.Minute // how long a bucket is full before it is dropped, while there is room
)

// bucketID names a bucket: two 64-bit hashes, under seeds of their own, of the policy and the key.
type bucketID [2]uint64

// entry is a bucket in the table. 120 bytes.
type entry struct {
	id     bucketID
	shape  shape
	next   uint32 // the slot that follows in the chain, or on the free list; 0 is the end
	owes   uint32 // the second, counted from shard.since, at which the bucket is full by the limits that it had before, too
	bucket rate.Limiter
}

// shape is a Limit in 16 bytes, its Burst resolved. The zero shape is that of an entry on the free
// list.
type shape struct {
	window       time.Duration
	quota, burst uint32
}

func shapeOf(l Limit) shape {
	return shape{window: l.Window, quota: uint32(l.Quota), burst: uint32(l.burst())}
}

// shard is one part of the table: a chained hash table over blocks of entries that never move.
// Slots are numbered from 1.
type shard struct {
	mu       sync.Mutex
	now      time.Time // the latest that was seen: see clock
	since    time.Time // when the first bucket was made
	capacity uint32
	evict    bool     // at the cap
	heads    []uint32 // the first slot of each chain
	blocks   []*[perBlock]entry
	used     uint32 // slots handed out so far, including those on the free list
	live     uint32
	free     uint32 // the first slot of the free list
	hand     uint32 // the slot that was last looked at for reclaiming
	evicted  uint64
	noRoom   uint64
}

type verdict uint8

const (
	denied verdict = iota
	admitted
	unknown // there is no such bucket, and none was to be made
	noRoom
)

// clock returns the time that counts: it never runs backwards. An older one would rewind a
// rate.Limiter, which then mints the tokens of the same time again; and a bucket that was dropped
// because it was full would be missing at an instant at which it was not yet full.
func (s *shard) clock(now time.Time) time.Time {
	if now.After(s.now) {
		s.now = now
	}
	return s.now
}

// charge takes the units of c if the bucket has them. It makes a bucket where there is none, if
// create says so. The entry is nil where the bucket is as good as full and not kept. The buckets of
// the other charges of the same call are kept.
func (s *shard) charge(now time.Time, id bucketID, c *Charge, create bool, call []charging) (*entry, verdict) {
	e := s.find(id)
	switch {
	case c.Cost == 0:
		return e, admitted
	case c.Cost > c.Limit.burst():
		return e, denied
	case e == nil && !create:
		return nil, unknown
	case e == nil:
		if e = s.insert(now, id, c.Limit, call); e == nil {
			return nil, noRoom
		}
	case e.shape != shapeOf(c.Limit):
		e.owes = uint32(ceilSecond(now.Sub(s.since)+s.refill(e, now)) / time.Second)
		e.bucket.SetLimitAt(now, c.Limit.rate())
		e.bucket.SetBurstAt(now, c.Limit.burst())
		e.shape = shapeOf(c.Limit)
	}
	if e.bucket.AllowN(now, c.Cost) {
		return e, admitted
	}
	return e, denied
}

// refund gives back what was taken at the same instant. It is exact: taking whole units from a
// float64 that holds at least as many rounds nothing, and neither does adding them again.
func (s *shard) refund(now time.Time, id bucketID, cost int) {
	if e := s.find(id); e != nil {
		e.bucket.AllowN(now, -cost)
	}
}

// adjust takes units, or gives them back, whatever the bucket holds. It is false if there is no
// room for a bucket.
func (s *shard) adjust(now time.Time, id bucketID, c *Charge) bool {
	e := s.find(id)
	switch {
	case c.Cost == 0 || e == nil && c.Cost < 0:
		return true
	case e == nil:
		if e = s.insert(now, id, c.Limit, nil); e == nil {
			return false
		}
	}
	// ReserveN goes into debt, but takes no more than a burst at a time.
	burst := int(e.shape.burst)
	e.bucket.SetBurstAt(now, max(burst, c.Cost))
	e.bucket.ReserveN(now, c.Cost)
	e.bucket.SetBurstAt(now, burst)
	return true
}

// forget drops the bucket, if it is there.
func (s *shard) forget(id bucketID) {
	if s.heads == nil {
		return
	}
	for slot := s.heads[s.chain(id)]; slot != 0; slot = s.at(slot).next {
		if s.at(slot).id == id {
			s.drop(slot)
			return
		}
	}
}

func (s *shard) find(id bucketID) *entry {
	if s.heads == nil {
		return nil
	}
	for slot := s.heads[s.chain(id)]; slot != 0; {
		e := s.at(slot)
		if e.id == id {
			return e
		}
		slot = e.next
	}
	return nil
}

func (s *shard) at(slot uint32) *entry { return &s.blocks[(slot-1)/perBlock][(slot-1)%perBlock] }

func (s *shard) chain(id bucketID) uint64 {
	i, _ := bits.Mul64(id[1], uint64(len(s.heads)))
	return i
}

// insert makes a full bucket. It returns nil when the cap is reached, nothing is to be evicted, and
// no full bucket was found to make room.
func (s *shard) insert(now time.Time, id bucketID, l Limit, call []charging) *entry {
	if s.heads == nil {
		s.heads = make([]uint32, s.capacity)
		s.since = now
	}
	s.reclaim(now)
	slot := s.vacant(now, call)
	if slot == 0 {
		s.noRoom++
		return nil
	}
	s.live++
	e, head := s.at(slot), &s.heads[s.chain(id)]
	*e = entry{id: id, shape: shapeOf(l), next: *head}
	*head = slot
	// The zero Limiter was empty in the year 1. Given its limit then, it is full by now, as new.
	e.bucket.SetBurstAt(time.Time{}, l.burst())
	e.bucket.SetLimitAt(time.Time{}, l.rate())
	return e
}

// vacant returns a slot that is in no chain, 0 if there is none.
func (s *shard) vacant(now time.Time, call []charging) uint32 {
	if s.free == 0 {
		if s.used < s.capacity {
			if s.used%perBlock == 0 {
				s.blocks = append(s.blocks, new([perBlock]entry))
			}
			s.used++
			return s.used
		}
		slot, refill := s.fullest(now, call)
		if slot == 0 {
			return 0
		}
		if refill > 0 {
			if !s.evict {
				return 0
			}
			s.evicted++
		}
		s.drop(slot)
	}
	slot := s.free
	s.free = s.at(slot).next
	return slot
}

// reclaim drops full buckets, which are like new ones. Two slots for each bucket that is made keep
// up with any flood. While there is room it spares those that were in use a short time ago, and
// will be again.
func (s *shard) reclaim(now time.Time) {
	if s.free != 0 || s.used < s.capacity {
		now = now.Add(-idle)
	}
	for range min(reclaim, s.used) {
		s.hand = s.hand%s.used + 1
		if e := s.at(s.hand); e.shape != (shape{}) && s.refill(e, now) == 0 {
			s.drop(s.hand)
		}
	}
}

// fullest returns that entry of a sample that is full the soonest, and how long it takes: what its
// bucket still remembers is forgotten then anyway. The least recently used one would be the wrong
// choice: with a flood of new keys a caller could evict the bucket that it has drained. Every slot
// is in use. The buckets that the same call has charged are no candidates, or a charge would be
// forgotten before it was ever seen; slot is 0 if there are no others.
func (s *shard) fullest(now time.Time, call []charging) (slot uint32, refill time.Duration) {
	at := rand.Uint32N(s.used)
	for range min(sample+len(call), int(s.used)) {
		at = at%s.used + 1
		e := s.at(at)
		if slices.ContainsFunc(call, func(c charging) bool { return c.id == e.id }) {
			continue
		}
		if r := s.refill(e, now); slot == 0 || r < refill {
			slot, refill = at, r
		}
	}
	return slot, refill
}

// refill is the time until the bucket is full and may be forgotten, 0 if it is. Full by its own
// limit is not enough: one that was drained under a large limit, and is full under a small one,
// would come back as a full one of the large limit.
func (s *shard) refill(e *entry, now time.Time) time.Duration {
	owed := max(time.Duration(e.owes)*time.Second-now.Sub(s.since), 0)
	missing := float64(e.shape.burst) - e.bucket.TokensAt(now)
	if missing <= 0 {
		return owed
	}
	l := Limit{Quota: int(e.shape.quota), Window: e.shape.window}
	return max(owed, refill(missing, l.perUnit()), 1)
}

// drop puts an entry on the free list.
func (s *shard) drop(slot uint32) {
	e := s.at(slot)
	link := &s.heads[s.chain(e.id)]
	for *link != slot {
		link = &s.at(*link).next
	}
	*link = e.next
	e.shape, e.next = shape{}, s.free
	s.free = slot
	s.live--
}
