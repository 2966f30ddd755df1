package idempotent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"time"
)

const (
	defaultRecords  = 1 << 18
	defaultBytes    = 256 << 20
	maxShards       = 16
	minShardRecords = 1 << 10
	minShardBytes   = 16 << 20

	// entryBytes is the size of a record without its response: the entry, its place in the
	// map, and a scope that has no other record.
	entryBytes = 512
)

// MemoryOptions configure a [Memory]. Nil and the zero value are the defaults.
type MemoryOptions struct {
	// MaxRecords bounds the number of records. The default is 262,144; a negative value means
	// no bound. There are never more records than fit into half of MaxBytes, so that the
	// other half is left for responses.
	MaxRecords int

	// MaxBytes bounds the memory of all records, each counted as 512 bytes plus its response.
	// The default is 256 MiB; a negative value means no bound. There is always room for one
	// record.
	MaxBytes int64

	// EvictWhenFull reports whether a new record for which there is no room replaces the
	// oldest finished record of the same scope, before the retention of that record is over.
	// A retry of the removed request then runs again. If false, the new record is refused.
	EvictWhenFull bool
}

// Memory is a [Store] in the memory of one process. Its records end with the process. It also
// implements [Waiter], [Sweeper], [Resolver], [UnknownLister] and [LocalStore]. It uses
// monotonic time.
//
// # Shares
//
// No scope can keep the others out, and no quota has to be chosen:
//
//   - Records: a scope can add a record as long as it has fewer records than are free. So
//     one scope alone can use half of MaxRecords, two can use a third each, three a quarter
//     each. Beyond its share, a scope is refused with [ErrQuota]. If no record is free,
//     every scope is refused with [ErrFull]. The scope of [Global] can use all that is
//     free.
//   - Responses: if MaxBytes is reached, the scope whose responses use the most bytes loses
//     its oldest ones. The new response counts toward its scope. A record whose response
//     was dropped becomes StateNotKept: its request does not run again, and its status and
//     Location stay if they are small. A scope that uses less loses nothing. If only such
//     scopes are left, the new response is refused with ErrFull.
//
// A service whose requests all have the same principal needs a MaxRecords of twice its
// records, or Global.
//
// # Size
//
// Records that are over their retention are removed when they are found and when room is
// needed. [Memory.Sweep] removes all of them.
//
// A large store is divided into at most 16 shards, by a seeded hash of the ID. Each has an
// equal part of the bounds, at least 1,024 records and 16 MiB. No bound is ever exceeded, but
// a large store may be full a few percent early.
type Memory struct {
	now    func() time.Duration
	seed   maphash.Seed // so that no client can choose keys that are all in one shard
	shards []shard
}

// MemoryStats are the size of a [Memory] and what it has removed to make room.
type MemoryStats struct {
	Records int
	Bytes   int64
	Dropped int64 // responses dropped since the start
	Evicted int64 // records removed since the start, with MemoryOptions.EvictWhenFull
}

// NewMemory returns an empty store. If o is nil, the defaults apply.
func NewMemory(o *MemoryOptions) *Memory {
	if o == nil {
		o = new(MemoryOptions)
	}
	b := bounds{
		records: max(cmp.Or(o.MaxRecords, defaultRecords), 0),
		bytes:   max(cmp.Or(o.MaxBytes, defaultBytes), 0),
		evict:   o.EvictWhenFull,
	}
	n := b.shards()
	b = b.dividedBy(n)

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

// lock locks the shard of id and returns it with the current time.
func (m *Memory) lock(id ID) (*shard, time.Duration) {
	s := m.shardOf(id)
	s.mu.Lock()
	return s, m.now() // under the lock, so that time does not go backward in a shard
}

// Acquire implements [Store].
func (m *Memory) Acquire(ctx context.Context, c Claim) (Decision, error) {
	if err := c.Validate(); err != nil {
		return Decision{}, fmt.Errorf("idempotent: Memory.Acquire: %w", err)
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

// change calls f with the entry that is running under the owner's token.
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
	if err := c.Validate(StateDone, StateNotKept, StateUnknown, StateAbsent); err != nil {
		return fmt.Errorf("idempotent: Memory: %w", err)
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

// Stats returns the current size of the store, and what it has removed.
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

// after returns the time d from now, or the latest possible time if that overflows.
func after(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }
