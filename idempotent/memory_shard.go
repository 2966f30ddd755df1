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
		e.expires = max(e.expires, e.lease) + s.max.tombstones
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
	size := int64(len(o.Record))
	if o.State == Done {
		if err := s.admit(e.claim.Scope, 0, size, now); err != nil {
			return err
		}
	}
	s.charge(e.claim.Scope, 0, size)
	e.state, e.record = o.State, bytes.Clone(o.Record) // the middleware's has room to spare, which would not be counted
	e.expires = now + o.Retention
	if o.State == Done {
		s.all.done.push(&e.inAll, e)
		s.scopes[e.claim.Scope].done.push(&e.inScope, e)
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
	s.all.done.remove(&e.inAll)
	if u := s.scopes[e.claim.Scope]; u != nil {
		u.done.remove(&e.inScope)
	}
	s.charge(e.claim.Scope, 0, -int64(len(e.record)))
}

func (s *shard) remove(e *entry) {
	s.strip(e)
	s.charge(e.claim.Scope, -1, -entryBytes)
	delete(s.entries, e.claim.ID)
	e.wake()
}

func (s *shard) charge(scope ID, entries int, bytes int64) {
	u := s.scopes[scope]
	if u == nil {
		u = new(usage)
		s.scopes[scope] = u
	}
	for _, u := range [...]*usage{u, &s.all} {
		u.entries += entries
		u.bytes += bytes
	}
	if u.entries == 0 {
		delete(s.scopes, scope)
	}
}

// admit makes room for so many more entries and bytes, or tells that there is none.
func (s *shard) admit(scope ID, entries int, bytes int64, now time.Duration) error {
	for range 2 { // pay off two old entries for each new one, so that a store at rest in size needs no sweep
		if oldest := s.all.done.oldest(); oldest == nil || !s.expire(oldest, now) {
			break
		}
	}
	fits := s.max.bytes == 0 || bytes <= s.max.bytes/2 // what does not would drive out all the rest
	for {
		own := s.scopes[scope]
		var err error
		switch {
		case own != nil && scope != (ID{}) && own.over(entries, bytes, s.max.scopeEntries, s.max.scopeBytes):
			err = ErrQuota
		case s.all.over(entries, bytes, s.max.entries, s.max.bytes):
			err, own = ErrFull, &s.all
		default:
			return nil
		}
		switch {
		case s.swept+sweepPause <= now:
			s.sweep(now, -1)
		case s.max.evict && fits && own.done.oldest() != nil:
			s.remove(own.done.oldest())
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
