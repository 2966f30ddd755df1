package idempotent

import (
	"container/heap"
	"time"
)

// scope counts the entries and responses of one scope in a shard.
type scope struct {
	id        ID
	entries   int
	bytes     int64 // of responses
	finished  queue // all entries that are done or not kept
	whole     queue // those that are done and have a response
	remaining queue // those that are not kept and still have a status and Location
	at        int   // its index in byBytes
}

// responses returns the queue of the finished entries that have a response and the state s.
func (u *scope) responses(s State) *queue {
	if s == StateDone {
		return &u.whole
	}
	return &u.remaining
}

// setResponse replaces the response of an entry and updates what its scope uses.
func (s *shard) setResponse(e *entry, response []byte) {
	u := e.scope
	if len(e.response) > 0 {
		u.responses(e.state).remove(e, ofResponses)
	}
	change := int64(len(response) - len(e.response))
	e.response = response
	if len(response) > 0 {
		u.responses(e.state).push(e, ofResponses)
	}
	s.bytes += change
	before := u.bytes
	u.bytes += change
	switch {
	case before == 0 && u.bytes > 0:
		heap.Push(&s.hungry, u)
	case before > 0 && u.bytes == 0:
		heap.Remove(&s.hungry, u.at)
	case change != 0:
		heap.Fix(&s.hungry, u.at)
	}
}

// admit makes room for one more entry of a scope, or returns an error if there is none.
func (s *shard) admit(id ID, now time.Duration) error {
	s.tidy(now)
	err := s.refusal(id)
	if err != nil {
		s.sweepIfDue(now)
		err = s.refusal(id)
	}
	if err != nil {
		// The new record replaces one of the same scope, so the other scopes neither lose nor gain.
		u := s.scopes[id]
		if !s.max.evict || u == nil || u.finished.first == nil {
			return err
		}
		s.remove(u.finished.first)
		s.evicted++
	}
	if s.max.bytes > 0 && s.bytes+entryBytes > s.max.bytes {
		s.sweepIfDue(now)
		// Entries without responses use at most half of the bytes, so there are responses to
		// drop.
		for s.bytes+entryBytes > s.max.bytes {
			s.drop(s.hungry[0])
		}
	}
	return nil
}

// refusal returns the error for one more entry of a scope if there is no room for it. A scope
// may have as many entries as are free. Network switches share buffers among queues in this
// way (dynamic thresholds): it needs no count of scopes, and leaves room for the next scope.
func (s *shard) refusal(id ID) error {
	if s.max.records == 0 {
		return nil
	}
	free := s.max.records - len(s.entries)
	if free <= 0 {
		return ErrFull
	}
	if u := s.scopes[id]; u != nil && id != (ID{}) && u.entries >= free {
		return ErrQuota
	}
	return nil
}

// reserve makes room for a response of a scope. If that is not possible, it reports false and
// drops nothing. The scope that uses the most bytes loses its oldest responses. The new
// response counts toward its scope.
func (s *shard) reserve(own *scope, size int64, now time.Duration) bool {
	s.tidy(now)
	if s.max.bytes == 0 || s.bytes+size <= s.max.bytes {
		return true
	}
	s.sweepIfDue(now)
	// All responses of this scope can be dropped. Another scope can lose only what it has
	// beyond the size of the new response.
	missing := s.bytes + size - s.max.bytes - own.bytes
	if missing > 0 && s.hungry.above(0, size, missing) < missing {
		return false
	}
	for s.bytes+size > s.max.bytes {
		most := s.hungry[0]
		if most.bytes <= own.bytes+size && own.bytes > 0 {
			most = own
		}
		s.drop(most)
	}
	return true
}

// drop drops the oldest response of a scope that has one, except for its status and Location.
// If the scope has only those left, it drops the oldest of them.
func (s *shard) drop(u *scope) {
	e := u.whole.first
	if e == nil {
		s.setResponse(u.remaining.first, nil)
		return
	}
	rest := withoutBody(e.response)
	if len(rest) > len(e.response)/2 {
		rest = nil // keeping it would save little
	}
	s.setResponse(e, nil)
	e.state = StateNotKept
	s.setResponse(e, rest)
	s.dropped++
}

// byBytes is a heap of scopes. The first one has the most bytes of responses.
type byBytes []*scope

func (h *byBytes) Len() int           { return len(*h) }
func (h *byBytes) Less(i, j int) bool { return (*h)[i].bytes > (*h)[j].bytes }
func (h *byBytes) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].at, s[j].at = i, j
}

// Push implements [heap.Interface].
func (h *byBytes) Push(x any) {
	u := x.(*scope)
	u.at = len(*h)
	*h = append(*h, u)
}

// Pop implements [heap.Interface].
func (h *byBytes) Pop() any {
	last := len(*h) - 1
	u := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return u
}

// above returns how many bytes the scopes at i and below it in the heap use beyond a level.
// It stops adding when the sum is enough. It looks only at scopes above the level and their
// children.
func (h *byBytes) above(i int, level, enough int64) (sum int64) {
	if i >= len(*h) || (*h)[i].bytes <= level {
		return 0
	}
	sum = (*h)[i].bytes - level
	for child := 2*i + 1; child <= 2*i+2 && sum < enough; child++ {
		sum += h.above(child, level, enough-sum)
	}
	return sum
}
