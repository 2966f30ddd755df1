package idempotent

import (
	"bytes"
	"time"
)

// sweepPause is the least time between two looks at all entries of a full shard, so that a flood does not pay for one each.
const sweepPause = time.Second

// find returns the entry of id, nil if there is none. It removes it when its time is over.
func (s *shard) find(id ID, now time.Duration) *entry {
	e := s.entries[id]
	if e == nil || s.expire(e, now) {
		return nil
	}
	return e
}

// expire ends an entry whose time is over, and tells whether it is gone. A tombstone takes its place first, where there are
// some.
func (s *shard) expire(e *entry, now time.Duration) (gone bool) {
	if now < e.expires || e.state == InFlight && now < e.lease {
		return false
	}
	if s.max.tombstones > 0 && e.state != Expired {
		s.strip(e)
		e.state, e.record = Expired, nil
		e.expires = after(max(e.expires, e.lease), s.max.tombstones)
		e.wake()
		if now < e.expires {
			return false
		}
	}
	s.remove(e)
	return true
}

// finish ends the run of e, or its unknown state.
func (s *shard) finish(e *entry, o Outcome, now time.Duration) error {
	if o.State == Released {
		s.remove(e)
		return nil
	}
	size := int64(len(o.Record) - len(e.record)) // one that was UNKNOWN may have a record, too
	if o.State == Done {
		if err := s.admit(e.scope.name(), 0, size, now); err != nil {
			return err
		}
	}
	s.charge(e.scope, 0, size)
	e.state, e.record = o.State, o.Record
	if !o.owned || cap(o.Record) > len(o.Record)+len(o.Record)/8 { // what it has to spare is not counted
		e.record = bytes.Clone(o.Record)
	}
	e.lease, e.expires = now, after(now, o.Retention)
	if o.State == Done {
		s.all.done.push(e)
		if e.scope != nil {
			e.scope.done.push(e)
		}
	}
	e.wake()
	return nil
}

func (e *entry) wake() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// strip gives back what e uses beyond its own entry.
func (s *shard) strip(e *entry) {
	if e.state == Done {
		s.all.done.remove(e)
		if e.scope != nil {
			e.scope.done.remove(e)
		}
	}
	s.charge(e.scope, 0, -int64(len(e.record)))
}

func (s *shard) remove(e *entry) {
	s.strip(e)
	s.charge(e.scope, -1, -entryBytes)
	delete(s.entries, e.id)
	e.wake()
}

// usage returns what a scope uses, for an entry that is about to be charged to it; nil for the one without a name.
func (s *shard) usage(scope ID) *usage {
	u := s.scopes[scope]
	if u == nil && scope != (ID{}) {
		u = &usage{scope: scope, done: queue{links: ofScope}}
		s.scopes[scope] = u
	}
	return u
}

// name is the scope's hash, zero for the one without a name.
func (u *usage) name() ID {
	if u == nil {
		return ID{}
	}
	return u.scope
}

func (s *shard) charge(u *usage, entries int, bytes int64) {
	s.all.entries += entries
	s.all.bytes += bytes
	if u == nil {
		return
	}
	u.entries += entries
	u.bytes += bytes
	if u.entries == 0 {
		delete(s.scopes, u.scope)
	}
}

// admit makes room for so many more entries and bytes, or tells that there is none.
func (s *shard) admit(scope ID, entries int, bytes int64, now time.Duration) error {
	for range 2 { // pay off two old entries for each new one, so that a store at rest in size needs no sweep
		if oldest := s.all.done.first; oldest == nil || !s.expire(oldest, now) {
			break
		}
	}
	fits := s.max.bytes == 0 || bytes <= s.max.bytes/2 // what does not would drive out all the rest
	for {
		own := s.scopes[scope]
		var err error
		switch {
		case own != nil && own.over(entries, bytes, s.max.scopeEntries, s.max.scopeBytes):
			err = ErrQuota
		case s.all.over(entries, bytes, s.max.entries, s.max.bytes):
			err, own = ErrFull, &s.all
		default:
			return nil
		}
		switch {
		case s.swept+sweepPause <= now:
			s.sweep(now, -1)
		case s.max.evict && fits && own.done.first != nil:
			s.remove(own.done.first)
			s.evicted++
		default:
			return err
		}
	}
}

// over tells whether so much more is too much. A bound of 0 is none.
func (u *usage) over(entries int, bytes int64, maxEntries int, maxBytes int64) bool {
	return maxEntries > 0 && u.entries+entries > maxEntries || maxBytes > 0 && u.bytes+bytes > maxBytes
}

// sweep removes at most limit entries whose time is over, all for a negative limit, and tells how many.
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
