package idempotent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	defaultEntries = 1 << 18
	defaultBytes   = 256 << 20
	maxShards      = 16
	shardEntries   = 1 << 10 // at least
	shardBytes     = 16 << 20

	// entryBytes is what a record costs besides its response: the entry, its places in the map and the lists, rounded up.
	entryBytes = 512
)

// MemoryOptions configure a [Memory]. Nil and the zero value are the defaults.
type MemoryOptions struct {
	// MaxEntries bounds the number of records. 0 is 262,144; negative is no bound.
	MaxEntries int
	// MaxBytes bounds the memory of all records, each taken as 512 bytes and its response. 0 is 256 MiB; negative is no bound.
	MaxBytes int64
	// ScopeEntries and ScopeBytes bound what one principal may use of it, so that none can starve the others. 0 is a quarter of
	// the above; negative is no bound. They don't apply to the scope without a name ([Global]).
	ScopeEntries int
	ScopeBytes   int64
	// Evict makes room, at any of these bounds, by forgetting the oldest DONE record (of the same principal, at its own bound)
	// before its retention is over. A retry of a forgotten request runs again: that is why it is off, and a full store refuses
	// new keys. RUNNING, SEALED and UNKNOWN records are never evicted.
	Evict bool
	// Tombstones is how long, after its retention, a record's key is still known to have been used: it then answers Expired
	// and is not run again. 0 is not at all.
	Tombstones time.Duration
}

// Memory is a [Store] in the memory of one process: for services of one process, and for tests. Its records don't survive
// the process. It also is a [Waiter], a [Sweeper] and a [Resolver]. Time is monotonic, so a step of the wall clock changes
// nothing.
//
// Records that are over their retention are removed when they are met, or when room is needed; [Memory.Sweep] removes the rest.
//
// It is divided into at most 16 shards, of 1,024 entries and 16 MiB at least, and each bound is divided evenly among them, by a
// hash of principal and key: no bound is ever exceeded (but by sealed records of at most 2 KiB each), and a large store may
// be full a few percent early.
type Memory struct {
	now    func() time.Duration
	shards []shard
}

// MemoryStats tells what a [Memory] holds.
type MemoryStats struct {
	Entries int
	Bytes   int64
	Evicted int64 // since the start
}

// bounds are MemoryOptions with the defaults filled in, for one shard; 0 is no bound.
type bounds struct {
	entries, scopeEntries int
	bytes, scopeBytes     int64
	evict                 bool
	tombstones            time.Duration
}

type shard struct {
	max     bounds
	mu      sync.Mutex
	entries map[ID]*entry
	scopes  map[ID]*usage
	all     usage
	swept   time.Duration // when all entries were last looked at
	evicted int64
}

// usage is what a scope, or the whole shard, uses.
type usage struct {
	scope   ID
	entries int
	bytes   int64
	done    queue // the DONE entries
}

type entry struct {
	id      ID
	print   Print
	token   Token
	scope   *usage // nil for the one without a name
	state   State  // InFlight for RUNNING, Done, Sealed, Unknown, Expired
	marked  bool
	attempt int
	lease   time.Duration // when it ends
	expires time.Duration // when the retention ends
	record  []byte
	changed chan struct{} // closed when it stops to be RUNNING; nil while nobody waits
	links   [queues]link  // its places in the queues of DONE entries
}

// NewMemory returns an empty store. Nil options are the defaults.
func NewMemory(o *MemoryOptions) *Memory {
	if o == nil {
		o = new(MemoryOptions)
	}
	b := bounds{
		entries: o.MaxEntries, scopeEntries: o.ScopeEntries,
		bytes: o.MaxBytes, scopeBytes: o.ScopeBytes,
		evict: o.Evict, tombstones: o.Tombstones,
	}
	setDefault(&b.entries, defaultEntries)
	setDefault(&b.bytes, defaultBytes)
	setDefault(&b.scopeEntries, (b.entries+3)/4)
	setDefault(&b.scopeBytes, (b.bytes+3)/4)
	n := maxShards
	if b.entries > 0 {
		n = min(n, max(b.entries/shardEntries, 1))
	}
	if b.bytes > 0 {
		n = min(n, max(int(b.bytes/shardBytes), 1))
	}
	b.entries, b.scopeEntries = b.entries/n, (b.scopeEntries+n-1)/n
	b.bytes, b.scopeBytes = b.bytes/int64(n), (b.scopeBytes+int64(n)-1)/int64(n)

	start := time.Now()
	m := &Memory{now: func() time.Duration { return time.Since(start) }, shards: make([]shard, n)}
	for i := range m.shards {
		m.shards[i] = shard{max: b, entries: make(map[ID]*entry), scopes: make(map[ID]*usage), swept: -sweepPause}
	}
	return m
}

// setDefault replaces 0 by the default and a negative value by 0.
func setDefault[T int | int64 | time.Duration](v *T, d T) {
	switch {
	case *v == 0:
		*v = d
	case *v < 0:
		*v = 0
	}
}

// lock returns the shard of id, locked, and the time.
func (m *Memory) lock(id ID) (*shard, time.Duration) {
	s := &m.shards[int(id[0])%len(m.shards)]
	s.mu.Lock()
	return s, m.now() // read under the lock, so that time does not go backwards within a shard
}

// Acquire implements [Store].
func (m *Memory) Acquire(ctx context.Context, c Claim) (Verdict, error) {
	if c.Lease <= 0 || c.Retention <= 0 {
		return Verdict{}, errors.New("idempotent: Memory.Acquire: lease and retention must be positive")
	}
	if err := ctx.Err(); err != nil {
		return Verdict{}, err
	}
	s, now := m.lock(c.ID)
	defer s.mu.Unlock()

	e := s.find(c.ID, now)
	switch {
	case e == nil:
		if err := s.admit(c.Scope, 1, entryBytes, now); err != nil {
			return Verdict{}, err
		}
		e = &entry{id: c.ID, print: c.Print, scope: s.usage(c.Scope), state: InFlight}
		s.entries[c.ID] = e
		s.charge(e.scope, 1, entryBytes)
		e.own(c, now)
	case e.print != c.Print:
		return Verdict{State: Mismatch}, nil
	case e.state != InFlight:
		return Verdict{State: e.state, Record: e.record}, nil
	case e.token == c.Token:
		e.lease = after(now, c.Lease)
	case now < e.lease:
		return Verdict{State: InFlight, LeaseLeft: e.lease - now}, nil
	case e.marked:
		return Verdict{State: Unknown}, nil
	default:
		e.own(c, now)
	}
	return Verdict{State: Acquired, Attempt: e.attempt}, nil
}

// own gives the record to the claim. A record stays in the scope in which it was made.
func (e *entry) own(c Claim, now time.Duration) {
	e.token = c.Token
	e.attempt++
	e.lease, e.expires = after(now, c.Lease), after(now, c.Retention)
}

// after is d from now, at most the last moment that there is.
func after(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }

// Renew implements [Store].
func (m *Memory) Renew(ctx context.Context, l Lease, d time.Duration) error {
	return m.change(ctx, l, func(e *entry, now time.Duration) { e.lease = after(now, d) })
}

// Mark implements [Store].
func (m *Memory) Mark(ctx context.Context, l Lease) error {
	return m.change(ctx, l, func(e *entry, _ time.Duration) { e.marked = true })
}

// change applies f to the RUNNING entry under the lease's token.
func (m *Memory) change(ctx context.Context, l Lease, f func(e *entry, now time.Duration)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, now := m.lock(l.ID)
	defer s.mu.Unlock()
	e := s.find(l.ID, now)
	if e == nil || e.state != InFlight || e.token != l.Token {
		return ErrLost
	}
	f(e, now)
	return nil
}

// Finish implements [Store].
func (m *Memory) Finish(ctx context.Context, l Lease, o Outcome) error {
	if err := o.check(Done, Sealed, Unknown, Released); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s, now := m.lock(l.ID)
	defer s.mu.Unlock()
	e := s.find(l.ID, now)
	switch {
	case e == nil && o.State == Released:
		return nil
	case e == nil || e.token != l.Token:
		return ErrLost
	case e.state != InFlight:
		return nil
	}
	return s.finish(e, o, now)
}

// Resolve implements [Resolver].
func (m *Memory) Resolve(ctx context.Context, id ID, o Outcome) error {
	if err := o.check(Done, Sealed, Released); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s, now := m.lock(id)
	defer s.mu.Unlock()
	e := s.find(id, now)
	if e == nil || e.state != Unknown && (e.state != InFlight || !e.marked || now < e.lease) {
		return ErrNotUnknown
	}
	if err := s.finish(e, o, now); err != nil {
		return err
	}
	e.token = NewToken() // the owner has lost
	return nil
}

func (o Outcome) check(allowed ...State) error {
	for _, s := range allowed {
		if o.State == s && (s == Released || o.Retention > 0) {
			return nil
		}
	}
	return fmt.Errorf("idempotent: Memory: an outcome of state %s kept for %s: the state must be one of %s, and kept for longer than 0",
		o.State, o.Retention, slices.Clone(allowed)) // else each call would allocate the list
}

// Wait implements [Waiter].
func (m *Memory) Wait(ctx context.Context, id ID) error {
	s, now := m.lock(id)
	e := s.find(id, now)
	if e == nil || e.state != InFlight {
		s.mu.Unlock()
		return nil
	}
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	changed := e.changed
	s.mu.Unlock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sweep implements [Sweeper]. It holds up each shard while it looks through it: some ten microseconds per thousand records.
func (m *Memory) Sweep(ctx context.Context, limit int) (removed int, err error) {
	for i := range m.shards {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		left := -1
		if limit > 0 {
			if left = limit - removed; left == 0 {
				break
			}
		}
		s := &m.shards[i]
		s.mu.Lock()
		removed += s.sweep(m.now(), left)
		s.mu.Unlock()
	}
	return removed, nil
}

// Stats returns the store's present size.
func (m *Memory) Stats() (t MemoryStats) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		t.Entries += s.all.entries
		t.Bytes += s.all.bytes
		t.Evicted += s.evicted
		s.mu.Unlock()
	}
	return t
}
