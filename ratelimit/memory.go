package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// Memory is a [MultiLimiter], an [Adjuster], a [Resetter] and a [Registrar] that keeps
// its buckets in the memory of the process. Each bucket is a rate.Limiter of
// golang.org/x/time/rate.
//
// A key takes 134 bytes, however long it is: the table holds a 128-bit hash of rule and
// key, under random seeds, and not the key. The odds that two of a million keys share a
// hash are about 1 in 10^27. Of these, 4 bytes belong to the index, which is allocated for
// all MaxKeys when the first key comes.
//
// Memory starts no goroutine. It drops buckets that are full again while it adds new ones.
//
// Memory uses the monotonic clock of the process, so that setting the wall clock changes
// nothing. If that clock stops while the machine sleeps, no units come back during that
// time. A test that uses testing/synctest must create its Memory inside the bubble.
type Memory struct {
	seeds  [2]maphash.Seed
	shards []shard

	mu    sync.Mutex
	rules map[string]Limit // the limits that Register was given
}

// MemoryOptions configure a [Memory]. Nil and the zero value are the defaults.
type MemoryOptions struct {
	// MaxKeys is the largest number of keys that are kept at the same time. If zero, it
	// is 65,536, which takes about 9 MB. It must be at least the number of rules of a
	// [New]. The table has up to 32 parts, and each is full when it holds its share of
	// MaxKeys.
	MaxKeys int

	// RefuseWhenFull refuses a new key with [ErrFull] when there is no room, which the
	// middleware answers with 503 service_unavailable. If false, Memory picks a few
	// buckets at random and evicts the one that would be full the soonest. The caller of
	// that bucket gets the missing units early. In both cases, Memory first drops buckets
	// that are full again, which has no effect on their callers.
	RefuseWhenFull bool
}

// MemoryStats are numbers about a [Memory].
type MemoryStats struct {
	Keys    int   // keys that are held now
	Evicted int64 // buckets that were dropped before they were full
	Refused int64 // charges of a new key that found no room
}

const (
	defaultMaxKeys = 1 << 16
	mostKeys       = 1 << 30
	maxShards      = 32
	minShard       = 1024 // keys; shares of fewer would differ too much from one another
)

// NewMemory returns an empty Memory. It panics if MaxKeys is negative or over 1<<30.
func NewMemory(o *MemoryOptions) *Memory {
	if o == nil {
		o = &MemoryOptions{}
	}
	if o.MaxKeys < 0 || o.MaxKeys > mostKeys {
		panic("ratelimit: MemoryOptions.MaxKeys must be 0 to 1<<30")
	}
	keys := cmp.Or(o.MaxKeys, defaultMaxKeys)
	n := min(max(keys/minShard, 1), maxShards)
	m := &Memory{
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		shards: make([]shard, n),
		rules:  make(map[string]Limit),
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.refuse = o.RefuseWhenFull
		s.capacity = uint32(keys / n)
		if i < keys%n {
			s.capacity++
		}
	}
	return m
}

// Take implements [Limiter]. It does not use the context, since it never waits.
func (m *Memory) Take(_ context.Context, c Charge) (Decision, error) { return m.take(time.Now(), &c) }

func (m *Memory) take(now time.Time, c *Charge) (Decision, error) {
	if err := c.Validate(); err != nil {
		return Decision{}, err
	}
	id := m.id(c.Rule, c.Key)
	return m.shard(id).take(now, id, c)
}

// TakeAll implements [MultiLimiter]. It does not use the context. The error is [ErrFull]
// if there is no room for all of the buckets together.
func (m *Memory) TakeAll(_ context.Context, charges []Charge, into []Decision) error {
	return m.takeAll(time.Now(), charges, into)
}

// part is one charge of a TakeAll.
type part struct {
	charge  *Charge
	id      bucketID
	shard   *shard
	missing bool // the charge needs a bucket, which does not exist yet
	allowed bool
}

// usual is the largest number of charges for which TakeAll allocates nothing.
const usual = 8

func (m *Memory) takeAll(now time.Time, charges []Charge, into []Decision) error {
	if len(charges) != len(into) {
		return errInto
	}
	parts, ids := make([]part, 0, usual), make([]bucketID, 0, usual)
	for i := range charges {
		c := &charges[i]
		if err := c.Validate(); err != nil {
			return err
		}
		id := m.id(c.Rule, c.Key)
		if slices.Contains(ids, id) {
			return errSame
		}
		parts, ids = append(parts, part{charge: c, id: id, shard: m.shard(id)}), append(ids, id)
	}
	order := m.order(make([]int, 0, usual), ids)
	m.lock(now, order)
	defer m.unlock(order)

	allowed, err := takeParts(parts, ids)
	if !allowed || err != nil {
		for _, p := range parts {
			if p.allowed && p.charge.Cost > 0 {
				p.shard.refund(p.id, p.charge.Cost)
			}
		}
	}
	if err != nil {
		return err
	}
	for i, p := range parts {
		into[i] = decide(p.shard.bucket(p.id), p.shard.now, p.charge, p.allowed)
	}
	return nil
}

// takeParts makes the charges, and reports whether all are allowed. It charges the
// existing buckets first. If one of them denies its charge, no new bucket is created. A
// new bucket is full, so it allows its charge.
func takeParts(parts []part, ids []bucketID) (allowed bool, err error) {
	allowed = true
	for i := range parts {
		p := &parts[i]
		e := p.shard.bucket(p.id)
		p.missing = e == nil && p.charge.needsBucket()
		p.allowed = p.missing || p.shard.charge(e, p.charge)
		allowed = allowed && p.allowed
	}
	if !allowed {
		return false, nil
	}
	for _, p := range parts {
		if !p.missing {
			continue
		}
		e := p.shard.insert(p.id, p.charge.Limit, ids)
		if e == nil {
			return false, ErrFull
		}
		p.shard.charge(e, p.charge)
	}
	return true, nil
}

// order appends the indexes of the shards of ids, each once and in ascending order, so
// that two calls cannot wait for each other's locks.
func (m *Memory) order(order []int, ids []bucketID) []int {
	for _, id := range ids {
		order = append(order, m.index(id))
	}
	slices.Sort(order)
	return slices.Compact(order)
}

func (m *Memory) lock(now time.Time, order []int) {
	for _, i := range order {
		m.shards[i].mu.Lock()
		m.shards[i].advance(now)
	}
}

func (m *Memory) unlock(order []int) {
	for _, i := range order {
		m.shards[i].mu.Unlock()
	}
}

func (m *Memory) id(rule, key string) bucketID {
	name := struct{ rule, key string }{rule, key}
	return bucketID{maphash.Comparable(m.seeds[0], name), maphash.Comparable(m.seeds[1], name)}
}

func (m *Memory) index(id bucketID) int { return int(id[0] % uint64(len(m.shards))) }

func (m *Memory) shard(id bucketID) *shard { return &m.shards[m.index(id)] }

// Adjust implements [Adjuster]. It does not use the context.
func (m *Memory) Adjust(_ context.Context, c Charge) error { return m.adjust(time.Now(), &c) }

func (m *Memory) adjust(now time.Time, c *Charge) error {
	if err := c.validateAdjust(); err != nil {
		return err
	}
	id := m.id(c.Rule, c.Key)
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	return s.adjust(id, c)
}

// Reset implements [Resetter]. It does not use the context.
func (m *Memory) Reset(_ context.Context, rule, key string) error {
	id := m.id(rule, key)
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, e := s.find(id); e != nil {
		s.remove(slot)
	}
	return nil
}

// Register implements [Registrar].
func (m *Memory) Register(rule string, l Limit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.rules[rule]; ok && before != l {
		return fmt.Errorf("ratelimit: two rules with different limits are called %q on one Memory: give one of them another name", rule)
	}
	m.rules[rule] = l
	return nil
}

// Stats returns the current numbers. It locks the parts of the table one after another,
// so the numbers are not from exactly the same moment.
func (m *Memory) Stats() MemoryStats {
	var stats MemoryStats
	for i := range m.shards {
		m.shards[i].stats(&stats)
	}
	return stats
}

var (
	_ MultiLimiter = (*Memory)(nil)
	_ Adjuster     = (*Memory)(nil)
	_ Resetter     = (*Memory)(nil)
	_ Registrar    = (*Memory)(nil)
)
