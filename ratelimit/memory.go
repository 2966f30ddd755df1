package ratelimit

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Memory is a [MultiLimiter], an [Adjuster], a [Resetter] and a [Registrar] that keeps its buckets
// in the memory of the process. Each is a rate.Limiter of golang.org/x/time/rate.
//
// A key takes 120 bytes and its place in the index four more, whatever its length: the table knows
// policy and key by a 128-bit hash under random seeds of the process, so no key of a caller stays
// in memory. (That two of a million keys are taken for one has a chance of about 1 in 10^27, and as
// nobody sees a hash, nobody can look for such a pair.) The index is there from the first key on: 4
// bytes for each key of the cap. No goroutine runs: buckets that are full again are dropped as new
// ones come.
//
// Time is the monotonic clock of the process: to set the machine's clock changes nothing, and on
// systems where that clock stands still while the machine sleeps, no units come back then. A test
// in a bubble of testing/synctest needs a Memory of its own, as the bubble has another time.
type Memory struct {
	seeds    [2]maphash.Seed
	atCap    AtCap
	shards   []shard
	overflow shard // the shared buckets of ShareOverflow, by rule

	mu    sync.Mutex
	rules map[string]Limit // see Register
}

// MemoryOptions are options of [NewMemory].
type MemoryOptions struct {
	// MaxKeys is the largest number of keys that are kept at a time. 0 is 65,536, which is about 8
	// MB. The table has up to 32 parts that are full at an equal share each.
	MaxKeys int

	// AtCap says what happens to a new key when there is no room. 0 is EvictFullest.
	AtCap AtCap
}

// AtCap says what [Memory] does with a new key when it is full. Before that, it looks at a few keys
// for one whose bucket is full again: that one can go without a trace.
type AtCap int

const (
	// EvictFullest drops, of those few keys, the one whose bucket would be full the soonest. Its
	// caller gets the units that were missing early: who drains as many other keys as there is room
	// for, before it is full again, can bring that about. MemoryStats counts it. The buckets that
	// one call charges stay for that call; if there is no room for all of them, it uses shared
	// ones, as ShareOverflow.
	EvictFullest AtCap = iota

	// ShareOverflow lets the new keys of a policy share one bucket, for as long as there is no
	// room. Beside MaxKeys there are 4,096 of these: of more policies, those with the fullest share
	// are forgotten early.
	ShareOverflow

	// RefuseNew is [ErrFull]. The middleware answers it with 503 service_unavailable.
	RefuseNew
)

// MemoryStats are numbers about a [Memory].
type MemoryStats struct {
	Keys    int    // keys that are held now
	Evicted uint64 // keys that were dropped although their bucket was not full: see EvictFullest
	NoRoom  uint64 // charges of a new key that found no room: see AtCap
}

const (
	defaultMaxKeys = 1 << 16
	maxMaxKeys     = 1 << 30
	maxShards      = 32   // with the overflow's they fit the bits of a uint64
	minShard       = 1024 // keys; with fewer, shares would differ too much from one another
	overflowKeys   = 4096 // policies: no stranger makes one up
)

// NewMemory returns an empty Memory. Nil options are the defaults.
func NewMemory(o *MemoryOptions) *Memory {
	if o == nil {
		o = &MemoryOptions{}
	}
	keys := o.MaxKeys
	switch {
	case keys < 0 || keys > maxMaxKeys:
		panic("ratelimit: MemoryOptions.MaxKeys must be 0 to 1<<30: without a cap, strangers could fill the memory")
	case keys == 0:
		keys = defaultMaxKeys
	}
	if o.AtCap < EvictFullest || o.AtCap > RefuseNew {
		panic("ratelimit: MemoryOptions.AtCap is none of the three")
	}
	n := min(max(keys/minShard, 1), maxShards)
	n = 1 << (bits.Len(uint(n)) - 1)
	m := &Memory{
		seeds:    [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		atCap:    o.AtCap,
		shards:   make([]shard, n),
		overflow: shard{capacity: overflowKeys, evict: true},
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.evict = o.AtCap == EvictFullest
		s.capacity = uint32(keys / n)
		if i < keys%n {
			s.capacity++
		}
	}
	return m
}

// Take implements [Limiter]. It does not use the context: it never waits for anything but a lock
// that is held for nanoseconds.
func (m *Memory) Take(_ context.Context, c Charge) (d Decision, err error) {
	err = m.take(time.Now(), &c, &d)
	return d, err
}

func (m *Memory) take(now time.Time, c *Charge, d *Decision) error {
	if err := c.Validate(); err != nil {
		return err
	}
	id := m.id(c.Rule, c.Key)
	switch {
	case m.shard(id).take(now, id, c, d):
	case m.atCap == RefuseNew:
		return ErrFull
	default:
		m.overflow.take(now, m.id(c.Rule, ""), c, d)
	}
	return nil
}

// take is false if there is no room.
func (s *shard) take(now time.Time, id bucketID, c *Charge, d *Decision) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.clock(now)
	e, v := s.charge(now, id, c, true, nil)
	if v == noRoom {
		return false
	}
	e.decide(d, now, c, v)
	return true
}

// decide describes the bucket after a charge. A nil entry is a full bucket.
func (e *entry) decide(d *Decision, now time.Time, c *Charge, v verdict) {
	var bucket *rate.Limiter
	if e != nil {
		bucket = &e.bucket
	}
	d.decide(bucket, now, c, v != denied)
}

// TakeAll implements [MultiLimiter]. Like Take it does not use the context.
func (m *Memory) TakeAll(_ context.Context, charges []Charge, into []Decision) error {
	return m.takeAll(time.Now(), charges, into)
}

func (m *Memory) takeAll(now time.Time, charges []Charge, into []Decision) error {
	if len(charges) != len(into) {
		return errInto
	}
	work := make([]charging, 0, 8) // on the stack
	for i := range charges {
		c := &charges[i]
		if err := c.Validate(); err != nil {
			return err
		}
		id := m.id(c.Rule, c.Key)
		if slices.ContainsFunc(work, func(w charging) bool { return w.id == id }) {
			return errSame
		}
		work = append(work, charging{Charge: c, id: id, shard: m.shard(id), verdict: unknown})
	}
	locked := m.lock(now, work)
	defer func() { m.unlock(locked) }()

	// The buckets that are known come first, so that a denial by one of them makes none for
	// strangers.
	ok := m.chargeEach(work, false, &locked) && m.chargeEach(work, true, &locked)
	for i := range work {
		if w := &work[i]; !ok && w.verdict == admitted && w.Cost > 0 {
			w.shard.refund(w.shard.now, w.id, w.Cost)
		}
	}
	for i := range work {
		w := &work[i]
		if w.verdict == noRoom {
			return ErrFull
		}
		into[i] = Decision{}
		w.shard.find(w.id).decide(&into[i], w.shard.now, w.Charge, w.verdict)
	}
	return nil
}

// charging is a charge on its way through takeAll.
type charging struct {
	*Charge
	id      bucketID
	shard   *shard
	verdict verdict
}

// chargeEach makes the charges whose outcome is unknown, and reports whether none was refused.
func (m *Memory) chargeEach(work []charging, create bool, locked *uint64) bool {
	ok := true
	for i := range work {
		w := &work[i]
		if w.verdict != unknown {
			continue
		}
		_, w.verdict = w.shard.charge(w.shard.now, w.id, w.Charge, create, work)
		if w.verdict == noRoom && m.atCap != RefuseNew {
			m.lockOverflow(w.shard.now, locked)
			w.id, w.shard = m.id(w.Rule, ""), &m.overflow
			_, w.verdict = w.shard.charge(w.shard.now, w.id, w.Charge, create, work)
		}
		ok = ok && (w.verdict == admitted || w.verdict == unknown)
	}
	return ok
}

// lock locks the shards of the charges in one order, so that two callers cannot wait for each
// other, and moves their clocks on. It returns what is locked.
func (m *Memory) lock(now time.Time, work []charging) uint64 {
	var shards uint64
	for i := range work {
		shards |= 1 << m.index(work[i].id)
	}
	for left := shards; left != 0; left &= left - 1 {
		s := m.nth(bits.TrailingZeros64(left))
		s.mu.Lock()
		s.clock(now)
	}
	return shards
}

// lockOverflow locks the shared buckets as well. They are the last in the order.
func (m *Memory) lockOverflow(now time.Time, locked *uint64) {
	overflow := uint64(1) << len(m.shards)
	if *locked&overflow == 0 {
		m.overflow.mu.Lock()
		*locked |= overflow
	}
	m.overflow.clock(now)
}

func (m *Memory) unlock(shards uint64) {
	for ; shards != 0; shards &= shards - 1 {
		m.nth(bits.TrailingZeros64(shards)).mu.Unlock()
	}
}

func (m *Memory) id(policy, key string) bucketID {
	name := struct{ policy, key string }{policy, key}
	return bucketID{maphash.Comparable(m.seeds[0], name), maphash.Comparable(m.seeds[1], name)}
}

func (m *Memory) index(id bucketID) int { return int(id[0] & uint64(len(m.shards)-1)) }

func (m *Memory) shard(id bucketID) *shard { return &m.shards[m.index(id)] }

// nth is a shard by its bit in lock; the last is the overflow's.
func (m *Memory) nth(i int) *shard {
	if i == len(m.shards) {
		return &m.overflow
	}
	return &m.shards[i]
}

// Adjust implements [Adjuster]. Like Take it does not use the context. A key that shares a bucket,
// by ShareOverflow, is charged what is taken; it gets nothing back, as nobody knows whether the
// charge was made to the shared bucket.
func (m *Memory) Adjust(_ context.Context, c Charge) error { return m.adjust(time.Now(), &c) }

func (m *Memory) adjust(now time.Time, c *Charge) error {
	if err := c.validateAdjust(); err != nil {
		return err
	}
	id := m.id(c.Rule, c.Key)
	switch {
	case m.shard(id).lockedAdjust(now, id, c):
	case m.atCap == RefuseNew:
		return ErrFull
	default:
		m.overflow.lockedAdjust(now, m.id(c.Rule, ""), c)
	}
	return nil
}

func (s *shard) lockedAdjust(now time.Time, id bucketID, c *Charge) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adjust(s.clock(now), id, c)
}

// Reset implements [Resetter]. Like Take it does not use the context. A bucket that several keys
// share, by ShareOverflow, stays.
func (m *Memory) Reset(_ context.Context, rule, key string) error {
	id := m.id(rule, key)
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id)
	return nil
}

// Register implements [Registrar].
func (m *Memory) Register(rule string, l Limit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.rules[rule]; ok && before != l {
		return fmt.Errorf("ratelimit: two rules with different limits are called %q on one Memory: give one of them another name", rule)
	}
	if m.rules == nil {
		m.rules = make(map[string]Limit)
	}
	m.rules[rule] = l
	return nil
}

// Stats returns how things stand. It looks at one part of the table after the other, while the
// others go on.
func (m *Memory) Stats() MemoryStats {
	var stats MemoryStats
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		stats.Keys += int(s.live)
		stats.Evicted += s.evicted
		stats.NoRoom += s.noRoom
		s.mu.Unlock()
	}
	return stats
}

var (
	_ MultiLimiter = (*Memory)(nil)
	_ Adjuster     = (*Memory)(nil)
	_ Resetter     = (*Memory)(nil)
	_ Registrar    = (*Memory)(nil)
)
