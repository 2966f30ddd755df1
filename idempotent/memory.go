package idempotent

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"
)

const (
	defaultEntries = 1 << 18
	defaultBytes   = 256 << 20
	maxShards      = 16
	shardEntries   = 1 << 10 // at least
	shardBytes     = 16 << 20

	// entryBytes is what a record costs besides its response: the entry, its place in the map,
	// and a scope that has no other record.
	entryBytes = 512
)

// MemoryOptions configure a [Memory]. Nil and the zero value are the defaults.
type MemoryOptions struct {
	// MaxRecords bounds the number of records. 0 is 262,144. Negative is no bound. In any case
	// there are no more records than half of MaxBytes holds, so that the other half is left for
	// responses.
	MaxRecords int
	// MaxBytes bounds the memory of all records, each counted as 512 bytes and its response. 0
	// is 256 MiB. Negative is no bound. A store has room for one record at least.
	MaxBytes int64
	// EvictWhenFull makes room for a new record that would be refused by forgetting the oldest finished
	// record of the same scope before its retention is over. A retry of a forgotten request runs
	// again. If false, the new record is refused.
	EvictWhenFull bool
}

// Memory is a [Store] in the memory of one process, for services that are one process and for
// tests. Its records end with the process. It is also a [Waiter], [Sweeper], [Resolver],
// [UnknownLister] and [LocalStore]. Time is monotonic, so a step of the wall clock changes
// nothing.
//
// # Shares
//
// No scope can keep the others out, and no quota has to be chosen in advance:
//
//   - Records: a scope can add one while it has fewer than are free. So a scope that is alone
//     can use half of MaxRecords, two can use a third each, three a quarter each, and as much is
//     left for the next one. Beyond its share, a scope is refused with [ErrQuota]. If no record
//     is free, every scope is refused with [ErrFull]. The scope that all callers share
//     ([Global]) is exempt: it can use all that is free.
//   - Responses: if MaxBytes is reached, the scope whose responses take most bytes gives up its
//     oldest ones. The response that is to be stored counts as its scope's. A record whose
//     response was dropped is not kept: its request does not run again, and it has its status
//     and Location left, if they are small. A scope that uses less loses nothing. If only such
//     scopes are left, the new response is refused with ErrFull.
//
// The rules hold for few records too: with a MaxRecords of 10, a scope that is alone can use 5,
// and the first record of a scope is refused only if none is free. A service whose requests all
// have the same principal needs a MaxRecords of twice its records, or Global.
//
// No record is removed before its retention is over, unless [MemoryOptions].EvictWhenFull is set: then a
// new record can replace the oldest finished one of the same scope. A running or unknown record is
// never replaced.
//
// # Size
//
// Records that are over their retention are removed when they are met and when room is needed.
// [Memory.Sweep] removes all of them.
//
// A large store is divided into at most 16 shards, by a seeded hash of the ID, and so is each
// bound. Each of several has 1,024 records and 16 MiB at least. No bound is ever exceeded, and a
// large store may be full a few percent early.
type Memory struct {
	now    func() time.Duration
	seed   maphash.Seed // without it, a client could aim its keys at one shard
	shards []shard
}

// MemoryStats says what a [Memory] holds and what it has done to make room.
type MemoryStats struct {
	Records int
	Bytes   int64
	Dropped int64 // responses that were dropped to make room, since the start
	Evicted int64 // records that were forgotten to make room, since the start: see MemoryOptions.EvictWhenFull
}

// NewMemory returns an empty store. Nil options are the defaults.
func NewMemory(o *MemoryOptions) *Memory {
	if o == nil {
		o = new(MemoryOptions)
	}
	b := bounds{entries: o.MaxRecords, bytes: o.MaxBytes, evict: o.EvictWhenFull}
	setDefault(&b.entries, defaultEntries)
	setDefault(&b.bytes, defaultBytes)
	n := maxShards
	if b.entries > 0 {
		n = min(n, max(b.entries/shardEntries, 1))
	}
	if b.bytes > 0 {
		n = max(int(min(int64(n), b.bytes/shardBytes)), 1)
	}
	b.entries /= n
	if b.bytes > 0 {
		b.bytes = max(b.bytes/int64(n), entryBytes)
		fit := int(min(max(b.bytes/2/entryBytes, 1), math.MaxInt))
		if b.entries == 0 || b.entries > fit {
			b.entries = fit
		}
	}

	start := time.Now()
	m := &Memory{
		now:    func() time.Duration { return time.Since(start) },
		seed:   maphash.MakeSeed(),
		shards: make([]shard, n),
	}
	for i := range m.shards {
		m.shards[i] = shard{max: b, entries: make(map[ID]*entry), scopes: make(map[ID]*scope), swept: -sweepPause}
	}
	return m
}

func (m *Memory) shardOf(id ID) *shard {
	if len(m.shards) == 1 {
		return &m.shards[0]
	}
	return &m.shards[maphash.Bytes(m.seed, id[:])%uint64(len(m.shards))]
}

// lock returns the shard of id, locked, and the time.
func (m *Memory) lock(id ID) (*shard, time.Duration) {
	s := m.shardOf(id)
	s.mu.Lock()
	return s, m.now() // read under the lock, so that time does not go backward within a shard
}

// Acquire implements [Store].
func (m *Memory) Acquire(ctx context.Context, c Claim) (Decision, error) {
	if c.Lease <= 0 || c.Retention <= 0 {
		return Decision{}, errors.New("idempotent: Memory.Acquire: lease and retention must be positive")
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	s, now := m.lock(c.ID)
	defer s.mu.Unlock()

	e := s.find(c.ID, now)
	switch {
	case e == nil:
		if err := s.admit(c.Scope, now); err != nil {
			return Decision{}, err
		}
		e = s.add(c)
		e.own(c, now)
	case e.fingerprint != c.Fingerprint:
		return Decision{Verdict: VerdictMismatch}, nil
	case e.state == StateDone:
		return Decision{Verdict: VerdictDone, Response: e.response}, nil
	case e.state == StateNotKept:
		return Decision{Verdict: VerdictNotKept, Response: e.response}, nil
	case e.state == StateUnknown:
		return Decision{Verdict: VerdictUnknown}, nil
	case e.token == c.Token:
		e.lease = after(now, c.Lease)
	case now < e.lease:
		return Decision{Verdict: VerdictRunning, LeaseLeft: e.lease - now}, nil
	case e.begun:
		return Decision{Verdict: VerdictUnknown}, nil
	default:
		e.own(c, now)
	}
	return Decision{Verdict: VerdictAcquired, Attempt: e.attempt}, nil
}

// Renew implements [Store].
func (m *Memory) Renew(ctx context.Context, o Owner, d time.Duration) error {
	if d <= 0 {
		return errors.New("idempotent: Memory.Renew: the lease must be positive")
	}
	return m.change(ctx, o, func(e *entry, now time.Duration) { e.lease = after(now, d) })
}

// BeginEffect implements [Store].
func (m *Memory) BeginEffect(ctx context.Context, o Owner) error {
	return m.change(ctx, o, func(e *entry, _ time.Duration) { e.begun = true })
}

// change applies f to the running entry under the owner's token.
func (m *Memory) change(ctx context.Context, o Owner, f func(e *entry, now time.Duration)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, now := m.lock(o.ID)
	defer s.mu.Unlock()
	e := s.find(o.ID, now)
	if e == nil || e.state != StateRunning || e.token != o.Token {
		return ErrLost
	}
	f(e, now)
	return nil
}

// Finish implements [Store].
func (m *Memory) Finish(ctx context.Context, o Owner, c Completion) error {
	if err := c.check(StateDone, StateNotKept, StateUnknown, StateAbsent); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s, now := m.lock(o.ID)
	defer s.mu.Unlock()
	e := s.find(o.ID, now)
	switch {
	case e == nil && (c.State == StateAbsent || c.State == StateUnknown):
		return nil
	case e == nil || e.token != o.Token:
		return ErrLost
	case e.state != StateRunning:
		return nil
	case c.State == StateUnknown && !e.begun:
		c.State = StateAbsent
	}
	return s.finish(e, c, now)
}

// check reports a completion that is not of one of the states, or lacks its retention.
func (c Completion) check(states ...State) error {
	for _, s := range states {
		if c.State == s && (s == StateAbsent || c.Retention > 0) {
			return nil
		}
	}
	return fmt.Errorf("idempotent: Memory: a completion of state %s, kept for %s: want one of the states %v, and more than 0",
		c.State, c.Retention, slices.Clone(states)) // a clone, or else each call would allocate the list
}

// Stats returns the store's present size.
func (m *Memory) Stats() (t MemoryStats) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		t.Records += len(s.entries)
		t.Bytes += s.bytes
		t.Dropped += s.dropped
		t.Evicted += s.evicted
		s.mu.Unlock()
	}
	return t
}

// after is d from now, at most the last moment that there is.
func after(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }
