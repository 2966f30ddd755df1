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

const (
	overCase       = "what is over makes room for other records, without a Sweep"
	resolutionCase = "a resolution without room changes nothing"
)

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
		"what is over takes room until it is met": overCase,
		"what is over makes room for four":        overCase,
		"what was abandoned takes room":           overCase,
		"the response of what is over takes room": overCase,
		"a resolution without room frees the key": resolutionCase,
		"a resolution without room is cut":        resolutionCase,
		"a refused resolution takes the record":   resolutionCase,
		"every resolution needs room":             resolutionCase,
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
		records, _ := s.used(c.ID, now)
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
		free := s.free(o.ID, c, s.Fault == "every completion needs room", now)
		if err != nil || !r.running() || free >= 0 {
			return next, err
		}
		switch s.Fault {
		case "a response without room frees the key":
			return absent, idempotent.ErrFull
		case "a response without room is cut":
			next.Response = next.Response[:max(0, len(next.Response)+free)]
			return next, nil
		}
		return r, idempotent.ErrFull
	})
}

// Resolve implements [idempotent.Resolver].
func (s *Bounded) Resolve(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
	return s.change(ctx, id, func(r record, now time.Duration) (record, error) {
		next, err := r.resolve(c, now)
		free := s.free(id, c, s.Fault == "every resolution needs room", now)
		if err != nil || free >= 0 {
			return next, err
		}
		switch s.Fault {
		case "a resolution without room frees the key":
			return absent, idempotent.ErrFull
		case "a resolution without room is cut":
			next.Response = next.Response[:max(0, len(next.Response)+free)]
			return next, nil
		case "a refused resolution takes the record":
			r.Ownerless = true
		}
		return r, idempotent.ErrFull
	})
}

// free returns how many bytes are free with the response of a completion, or 0 if it needs none.
func (s *Bounded) free(id idempotent.ID, c idempotent.Completion, each bool, now time.Duration) int {
	needs := 0
	if c.State == idempotent.StateDone {
		needs = len(c.Response)
	} else if each {
		needs = 1024
	}
	if needs == 0 {
		return 0
	}
	_, used := s.used(id, now)
	return s.maxBytes - used - needs
}

// used returns what is used of the room, at an operation on the record of id.
func (s *Bounded) used(id idempotent.ID, now time.Duration) (records, bytes int) {
	over := 0
	for other, b := range s.records {
		r := decode(b)
		isOver := r.at(now).State == idempotent.StateAbsent
		if isOver {
			over++
		}
		if !isOver || s.Fault == "the response of what is over takes room" {
			bytes += len(r.Response)
		}
		if !isOver || s.overTakesRoom(r, other == id, over) {
			records++
		}
	}
	return records, bytes
}

// overTakesRoom is one of the mistakes, or false.
func (s *Bounded) overTakesRoom(r record, met bool, over int) bool {
	switch s.Fault {
	case "what is over takes room":
		return true
	case "what is over takes room until it is met":
		return !met
	case "what is over makes room for four":
		return over > 4
	case "what was abandoned takes room":
		return r.running()
	}
	return false
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
