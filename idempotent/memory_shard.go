package idempotent

import (
	"bytes"
	"math"
	"slices"
	"sync"
	"time"
)

// sweepPause is the least time between two sweeps of a full shard, so that a flood of
// requests does not cause a sweep for each request.
const sweepPause = time.Second

// bounds are what a store or a shard can hold. 0 means no bound.
type bounds struct {
	records int
	bytes   int64
	evict   bool
}

// shards returns the number of shards into which a store with these bounds is divided.
func (b bounds) shards() int {
	n := maxShards
	if b.records > 0 {
		n = min(n, max(b.records/minShardRecords, 1))
	}
	if b.bytes > 0 {
		n = min(n, max(int(min(b.bytes/minShardBytes, maxShards)), 1))
	}
	return n
}

// dividedBy returns the bounds of one of n shards. Its records fit into half of its bytes.
func (b bounds) dividedBy(n int) bounds {
	b.records /= n
	if b.bytes > 0 {
		b.bytes = max(b.bytes/int64(n), entryBytes)
		fit := int(min(max(b.bytes/2/entryBytes, 1), math.MaxInt))
		if b.records == 0 || b.records > fit {
			b.records = fit
		}
	}
	return b
}

// shard is a part of a [Memory] with its own lock and its part of the bounds.
type shard struct {
	max      bounds
	mu       sync.Mutex
	entries  map[ID]*entry
	scopes   map[ID]*scope // the scopes that have an entry
	bytes    int64         // of all entries and their responses
	finished queue         // all entries that are done or not kept
	hungry   byBytes       // the scopes that have a response
	swept    time.Duration // the time of the last sweep
	dropped  int64
	evicted  int64
}

// entry is a record.
type entry struct {
	id          ID
	fingerprint Fingerprint
	token       Token
	scope       *scope
	state       State
	begun       bool // an effect was begun
	attempt     int
	lease       time.Duration // when it ends
	expires     time.Duration // when the retention ends
	response    []byte        // only if it is done or not kept
	changed     chan struct{} // closed when it stops running; nil if nobody waits
	links       [queues]link
}

// own gives the entry to the claim.
func (e *entry) own(c Claim, now time.Duration) {
	e.token = c.Token
	e.attempt++
	e.lease, e.expires = after(now, c.Lease), after(now, c.Retention)
}

func (e *entry) unknown(now time.Duration) bool {
	return e.state == StateUnknown || e.state == StateRunning && e.begun && now >= e.lease
}

func (e *entry) wake() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// find returns the entry of id. It is nil if there is none, or if its time was over.
func (s *shard) find(id ID, now time.Duration) *entry {
	e := s.entries[id]
	if e == nil || s.expire(e, now) {
		return nil
	}
	return e
}

// expire removes an entry whose time is over, and reports whether it did.
func (s *shard) expire(e *entry, now time.Duration) bool {
	if now < e.expires || e.state == StateRunning && now < e.lease {
		return false
	}
	s.remove(e)
	return true
}

// add adds a running entry for a claim that was admitted. The entry stays in the claim's
// scope when it is taken over.
func (s *shard) add(c Claim) *entry {
	u := s.scopes[c.Scope]
	if u == nil {
		u = &scope{id: c.Scope}
		s.scopes[c.Scope] = u
	}
	e := &entry{id: c.ID, fingerprint: c.Fingerprint, scope: u, state: StateRunning}
	s.entries[c.ID] = e
	u.entries++
	s.bytes += entryBytes
	return e
}

func (s *shard) remove(e *entry) {
	s.setResponse(e, nil)
	if e.state == StateDone || e.state == StateNotKept {
		s.finished.remove(e, ofShard)
		e.scope.finished.remove(e, ofScope)
	}
	s.bytes -= entryBytes
	if e.scope.entries--; e.scope.entries == 0 {
		delete(s.scopes, e.scope.id)
	}
	delete(s.entries, e.id)
	e.wake()
}

// finish ends the run of e, or its unknown state.
func (s *shard) finish(e *entry, c Completion, now time.Duration) error {
	if c.State == StateAbsent {
		s.remove(e)
		return nil
	}
	response := c.Response
	if c.State == StateUnknown {
		response = nil
	}
	if !s.reserve(e.scope, int64(len(response)), now) {
		if c.State == StateDone {
			return ErrFull
		}
		response = nil // the record must not be lost
	}
	if cap(response) > len(response)+len(response)/8 { // spare capacity would not be counted
		response = bytes.Clone(response)
	}
	e.state, e.lease, e.expires = c.State, now, after(now, c.Retention)
	if c.State != StateUnknown {
		s.finished.push(e, ofShard)
		e.scope.finished.push(e, ofScope)
	}
	s.setResponse(e, slices.Clip(response))
	e.wake()
	return nil
}

// tidy removes the two oldest finished entries if their time is over. It is called for each
// new entry, which keeps a store from growing without a sweep.
func (s *shard) tidy(now time.Duration) {
	for range 2 {
		if oldest := s.finished.first; oldest == nil || !s.expire(oldest, now) {
			return
		}
	}
}

// sweepIfDue removes all entries whose time is over, unless there was a sweep a moment ago.
func (s *shard) sweepIfDue(now time.Duration) {
	if s.swept+sweepPause <= now {
		s.sweep(now, -1)
	}
}

// sweep removes at most limit entries whose time is over and returns how many. If limit is
// negative, it removes all of them.
func (s *shard) sweep(now time.Duration, limit int) (removed int) {
	s.swept = now
	for _, e := range s.entries {
		if removed == limit {
			break
		}
		if s.expire(e, now) {
			removed++
		}
	}
	return removed
}

// appendUnknown appends the unknown records whose ID is greater than after, in no particular
// order.
func (s *shard) appendUnknown(list []UnknownRecord, after ID, clock func() time.Duration) []UnknownRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	for id, e := range s.entries {
		if e.unknown(now) && now < e.expires && bytes.Compare(id[:], after[:]) > 0 {
			list = append(list, UnknownRecord{ID: id, Scope: e.scope.id, Attempt: e.attempt, Left: e.expires - now})
		}
	}
	return list
}
