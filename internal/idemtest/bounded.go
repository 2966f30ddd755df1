package idemtest

import (
	"context"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Bounded is a [Reference] with little room. It evicts nothing.
type Bounded struct {
	*Reference
	maxRecords int
	maxBytes   int // of responses
	// Fault is the name of one of BoundedFaults. It is empty for a store without a mistake.
	Fault string
}

// BoundedFaults returns the mistakes of a [Bounded], each with the case of
// idempotenttest.RunFull that finds it.
func BoundedFaults() map[string]string {
	return map[string]string{
		"it evicts what runs":                     "running and unknown records are not evicted",
		"it evicts what is unknown":               "running and unknown records are not evicted",
		"a claim that is refused leaves a record": "a claim that is refused leaves nothing",
		"what is refused is any error":            "a claim that is refused leaves nothing",
		"the caller's own token needs room":       "the records that are there work on",
		"a takeover needs room":                   "the records that are there work on",
		"every completion needs room":             "a completion without its own response is never refused",
		"a response without room frees the key":   "a response without room leaves the record running",
		"a response without room is cut":          "a response without room leaves the record running",
		"what is over takes room":                 "the newest record is there, and what is over makes room",
	}
}

// NewBounded returns an empty store with room for a number of records and of bytes of responses.
func NewBounded(now func() time.Duration, records, bytes int) *Bounded {
	return &Bounded{Reference: NewReference(now), maxRecords: records, maxBytes: bytes}
}

// Acquire implements [idempotent.Store].
func (s *Bounded) Acquire(_ context.Context, c idempotent.Claim) (d idempotent.Decision, err error) {
	s.step(c.ID, func(r record, now time.Duration) record {
		next, decision := r.acquire(c, now)
		records, _ := s.used(now)
		full := records >= s.maxRecords
		switch {
		case full && s.Fault == "it evicts what runs" && r.State == idempotent.StateAbsent && s.evict(idempotent.StateRunning):
		case full && s.Fault == "it evicts what is unknown" && r.State == idempotent.StateAbsent && s.evict(idempotent.StateUnknown):
		case full && r.State == idempotent.StateAbsent,
			full && s.Fault == "a takeover needs room" && next.Attempt > max(r.Attempt, 1),
			full && s.Fault == "the caller's own token needs room" && r.owned(c.Token):
			err = idempotent.ErrFull
			switch s.Fault {
			case "a claim that is refused leaves a record":
				return next
			case "what is refused is any error":
				err = errWrong
			}
			return r
		}
		d = decision
		return next
	})
	return d, err
}

// Finish implements [idempotent.Store].
func (s *Bounded) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
		next, err := r.finish(o.Token, c, now)
		_, used := s.used(now)
		needs := 0
		if c.State == idempotent.StateDone {
			needs = len(c.Response)
		} else if s.Fault == "every completion needs room" {
			needs = 1024
		}
		if err == nil && needs > 0 && r.running() && used+needs > s.maxBytes {
			if s.Fault == "a response without room frees the key" {
				return absent, idempotent.ErrFull
			}
			if s.Fault == "a response without room is cut" {
				next.Response = next.Response[:max(0, s.maxBytes-used)]
				return next, nil
			}
			return r, idempotent.ErrFull
		}
		return next, err
	})
}

// used returns what is used of the room.
func (s *Bounded) used(now time.Duration) (records, bytes int) {
	if s.Fault == "what is over takes room" {
		now = 0
	}
	for id := range s.records {
		if r := s.load(id, now); r.State != idempotent.StateAbsent {
			records++
			bytes += len(r.Response)
		}
	}
	return records, bytes
}

// evict removes a record in a state, if there is one.
func (s *Bounded) evict(state idempotent.State) bool {
	for id, b := range s.records {
		if decode(b).State == state {
			delete(s.records, id)
			return true
		}
	}
	return false
}
