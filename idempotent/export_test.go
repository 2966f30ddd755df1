package idempotent

import (
	"errors"
	"time"
)

// SetNow replaces the store's clock.
func (m *Memory) SetNow(now func() time.Duration) { m.now = now }

// Scopes tells of how many scopes the store holds what they use.
func (m *Memory) Scopes() (n int) {
	for i := range m.shards {
		n += len(m.shards[i].scopes)
	}
	return n
}

// Running tells how many records are RUNNING.
func (m *Memory) Running() (n int) {
	for i := range m.shards {
		for _, e := range m.shards[i].entries {
			if e.state == InFlight {
				n++
			}
		}
	}
	return n
}

// Has tells whether there is a record, without a look at its time.
func (m *Memory) Has(id ID) bool {
	return m.shards[int(id[0])%len(m.shards)].entries[id] != nil
}

// Check adds up what all entries use, and compares it to what the store believes.
func (m *Memory) Check() error {
	for i := range m.shards {
		s := &m.shards[i]
		all, scopes, done := usage{}, make(map[ID]usage), make(map[*entry]bool)
		for id, e := range s.entries {
			own := scopes[e.scope.name()]
			for _, u := range []*usage{&all, &own} {
				u.entries++
				u.bytes += entryBytes + int64(len(e.record))
			}
			scopes[e.scope.name()] = own
			if e.id != id || e.scope != s.scopes[e.scope.name()] {
				return errors.New("an entry under the id or the scope of another")
			}
			if e.state == Done {
				done[e] = true
			}
		}
		if all.entries != s.all.entries || all.bytes != s.all.bytes || !s.all.done.holds(done) {
			return errors.New("the sum over all scopes is wrong")
		}
		delete(scopes, ID{})
		if len(scopes) != len(s.scopes) {
			return errors.New("a scope without an entry, or an entry without its scope")
		}
		for name, u := range s.scopes {
			own := make(map[*entry]bool)
			for e := range done {
				if e.scope == u {
					own[e] = true
				}
			}
			if u.scope != name || u.entries != scopes[name].entries || u.bytes != scopes[name].bytes || !u.done.holds(own) {
				return errors.New("the sum over a scope is wrong")
			}
		}
	}
	return nil
}

// holds tells whether the queue holds these entries, each once.
func (q *queue) holds(entries map[*entry]bool) bool {
	n := 0
	var last *entry
	for e := q.first; e != nil; e = e.links[q.links].next {
		if n++; n > len(entries) || !entries[e] || e.links[q.links].prev != last {
			return false
		}
		last = e
	}
	return n == len(entries) && q.last == last
}

// ParseKey is parseKey.
func ParseKey(lines []string) (string, error) { return parseKey(lines) }

// CanonicalJSON is canonicalJSON.
func CanonicalJSON(b []byte) []byte { return canonicalJSON(b) }

// AppendSum is appendSum.
func AppendSum(b []byte) []byte { return appendSum(b) }
