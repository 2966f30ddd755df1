package idempotent

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// sweepPause is the least time between two looks at all entries of a full shard, so that a flood
// does not pay for one each.
const sweepPause = time.Second

// bounds are those of one shard. 0 is no bound.
type bounds struct {
	entries int
	bytes   int64
	evict   bool
}

// shard is a part of a [Memory] that has its own lock and its own part of the bounds.
type shard struct {
	max      bounds
	mu       sync.Mutex
	entries  map[ID]*entry
	scopes   map[ID]*scope // those that have an entry
	bytes    int64         // of all entries and their responses
	finished queue         // the entries that are done or not kept, of all scopes
	hungry   byBytes       // the scopes that have a response
	swept    time.Duration // when all entries were last looked at
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
	begun       bool // an effect was
	attempt     int
	lease       time.Duration // when it ends
	expires     time.Duration // when the retention ends
	response    []byte        // only if it is done or not kept
	changed     chan struct{} // closed when it stops running, nil while nobody waits
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

// find returns the entry of id, or nil if there is none. It removes it if its time is over.
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

// add makes a running entry for a claim that was admitted. It stays in its scope, whoever takes
// it over.
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
		response = nil // that it ran is what must not get lost
	}
	if cap(response) > len(response)+len(response)/8 { // what it has to spare is not counted
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

// tidy removes the two oldest finished entries if their time is over. Called for each new one,
// it keeps a store at rest in size without a sweep.
func (s *shard) tidy(now time.Duration) {
	for range 2 {
		if oldest := s.finished.first; oldest == nil || !s.expire(oldest, now) {
			return
		}
	}
}

// sweepIfDue removes all entries whose time is over, unless that was done a moment ago.
func (s *shard) sweepIfDue(now time.Duration) {
	if s.swept+sweepPause <= now {
		s.sweep(now, -1)
	}
}

// sweep removes at most limit entries whose time is over, or all of them if limit is negative,
// and returns how many.
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

// appendUnknown appends the unknown records behind an ID, in no order.
func (s *shard) appendUnknown(list []UnknownRecord, behind ID, clock func() time.Duration) []UnknownRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	for id, e := range s.entries {
		if e.unknown(now) && now < e.expires && bytes.Compare(id[:], behind[:]) > 0 {
			list = append(list, UnknownRecord{ID: id, Scope: e.scope.id, Attempt: e.attempt, Left: e.expires - now})
		}
	}
	return list
}
