package idempotent

import (
	"errors"
	"time"
)

// SetNow replaces the store's clock.
func (m *Memory) SetNow(now func() time.Duration) { m.now = now }

// ShardOf returns the number of the shard for an ID.
func (m *Memory) ShardOf(id ID) int {
	for i := range m.shards {
		if m.shardOf(id) == &m.shards[i] {
			return i
		}
	}
	return -1
}

// ScopeUse is the room that a scope uses.
type ScopeUse struct {
	Entries int
	Bytes   int64 // of responses
}

// Scopes returns the room that each scope uses.
func (m *Memory) Scopes() map[ID]ScopeUse {
	use := make(map[ID]ScopeUse)
	for i := range m.shards {
		for id, u := range m.shards[i].scopes {
			use[id] = ScopeUse{Entries: use[id].Entries + u.entries, Bytes: use[id].Bytes + u.bytes}
		}
	}
	return use
}

// Running returns how many records are running.
func (m *Memory) Running() (n int) {
	for i := range m.shards {
		for _, e := range m.shards[i].entries {
			if e.state == StateRunning {
				n++
			}
		}
	}
	return n
}

// Peek returns the state and the response of a record, also if it has expired.
func (m *Memory) Peek(id ID) (State, []byte) {
	e := m.shardOf(id).entries[id]
	if e == nil {
		return StateAbsent, nil
	}
	return e.state, e.response
}

// Check compares the sums and queues of the store with its records.
func (m *Memory) Check() error {
	for i := range m.shards {
		if err := m.shards[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// sums are the records and bytes of a scope.
type sums struct {
	entries                    int
	bytes                      int64
	finished, whole, remaining map[*entry]bool
}

func (s *shard) check() error {
	var total int64
	finished := make(map[*entry]bool)
	scopes := make(map[*scope]*sums)
	for id, e := range s.entries {
		if e.id != id || e.scope != s.scopes[e.scope.id] {
			return errors.New("an entry under the id or the scope of another")
		}
		own := scopes[e.scope]
		if own == nil {
			own = &sums{finished: make(map[*entry]bool), whole: make(map[*entry]bool), remaining: make(map[*entry]bool)}
			scopes[e.scope] = own
		}
		own.entries++
		own.bytes += int64(len(e.response))
		total += entryBytes + int64(len(e.response))
		switch {
		case e.state == StateDone || e.state == StateNotKept:
			finished[e], own.finished[e] = true, true
			if len(e.response) > 0 && e.state == StateDone {
				own.whole[e] = true
			} else if len(e.response) > 0 {
				own.remaining[e] = true
			}
		case e.response != nil:
			return errors.New("a response of an entry that is not finished")
		}
	}
	switch {
	case total != s.bytes:
		return errors.New("the sum over all entries is wrong")
	case s.max.records > 0 && len(s.entries) > s.max.records, s.max.bytes > 0 && total > s.max.bytes:
		return errors.New("a bound is exceeded")
	case !s.finished.holds(finished, ofShard):
		return errors.New("the queue of finished entries is wrong")
	case len(scopes) != len(s.scopes):
		return errors.New("a scope without an entry")
	}
	withBytes := 0
	for u, own := range scopes {
		if u.entries != own.entries || u.bytes != own.bytes {
			return errors.New("the sum over a scope is wrong")
		}
		if !u.finished.holds(own.finished, ofScope) || !u.whole.holds(own.whole, ofResponses) || !u.remaining.holds(own.remaining, ofResponses) {
			return errors.New("a queue of a scope is wrong")
		}
		if u.bytes > 0 {
			withBytes++
			if s.hungry[u.at] != u || s.hungry[(max(u.at, 1)-1)/2].bytes < u.bytes {
				return errors.New("a scope is in the wrong place of the heap")
			}
		}
	}
	if withBytes != len(s.hungry) {
		return errors.New("a scope without bytes is in the heap")
	}
	return nil
}

// holds reports whether the queue holds these entries, each once.
func (q *queue) holds(entries map[*entry]bool, kind int) bool {
	n := 0
	var last *entry
	for e := q.first; e != nil; e = e.links[kind].next {
		if n++; n > len(entries) || !entries[e] || e.links[kind].prev != last {
			return false
		}
		last = e
	}
	return n == len(entries) && q.last == last
}
