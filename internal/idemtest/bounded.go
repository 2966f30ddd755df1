package idemtest

import (
	"context"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Bounded is a [Reference] with bounded room. It evicts nothing.
type Bounded struct {
	*Reference
	maxRecords int
	maxBytes   int // of responses
	// Fault is one of BoundedFaults. If empty, the store is correct.
	Fault string
}

const (
	expiredCase    = "expired records make room without a Sweep"
	resolutionCase = "a refused resolution changes nothing"
)

// BoundedFaults returns mistakes of a [Bounded], each with the case of idempotenttest.RunFull
// that finds it.
func BoundedFaults() map[string]string {
	return map[string]string{
		"it evicts a running record":                                   "running and unknown records are not evicted",
		"it evicts an unknown record":                                  "running and unknown records are not evicted",
		"a refused claim leaves a record":                              "a refused claim leaves no record",
		"a refusal is not ErrFull":                                     "a refused claim leaves no record",
		"a repeated Acquire needs room":                                "existing records still work",
		"a takeover needs room":                                        "existing records still work",
		"every completion needs room":                                  "only the response of StateDone is refused",
		"a refused response frees the key":                             "a refused response leaves the record running",
		"a response is cut to the room that is left":                   "a refused response leaves the record running",
		"an expired record takes room":                                 "the newest record is kept, and expired records make room",
		"an expired record takes room until its ID is used":            expiredCase,
		"four expired records take no room":                            expiredCase,
		"an abandoned record takes room when it expires":               expiredCase,
		"the response of an expired record takes room":                 expiredCase,
		"a refused resolution frees the key":                           resolutionCase,
		"the response of a resolution is cut to the room that is left": resolutionCase,
		"a refused resolution takes the record from its owner":         resolutionCase,
		"every resolution needs room":                                  resolutionCase,
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
		case full && s.Fault == "it evicts a running record" && r.State == idempotent.StateAbsent && s.evict(idempotent.StateRunning):
		case full && s.Fault == "it evicts an unknown record" && r.State == idempotent.StateAbsent && s.evict(idempotent.StateUnknown):
		case full && r.State == idempotent.StateAbsent,
			full && s.Fault == "a takeover needs room" && next.Attempt > max(r.Attempt, 1),
			full && s.Fault == "a repeated Acquire needs room" && r.owned(c.Token):
			err = idempotent.ErrFull
			switch s.Fault {
			case "a refused claim leaves a record":
				return next
			case "a refusal is not ErrFull":
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
		case "a refused response frees the key":
			return absent, idempotent.ErrFull
		case "a response is cut to the room that is left":
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
		case "a refused resolution frees the key":
			return absent, idempotent.ErrFull
		case "the response of a resolution is cut to the room that is left":
			next.Response = next.Response[:max(0, len(next.Response)+free)]
			return next, nil
		case "a refused resolution takes the record from its owner":
			r.Ownerless = true
		}
		return r, idempotent.ErrFull
	})
}

// free returns the bytes that are free after a completion. It is 0 if that needs none.
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

// used returns the room that is used, for an operation on the record of id.
func (s *Bounded) used(id idempotent.ID, now time.Duration) (records, bytes int) {
	over := 0
	for other, b := range s.records {
		r := decode(b)
		isOver := r.at(now).State == idempotent.StateAbsent
		if isOver {
			over++
		}
		if !isOver || s.Fault == "the response of an expired record takes room" {
			bytes += len(r.Response)
		}
		if !isOver || s.overTakesRoom(r, other == id, over) {
			records++
		}
	}
	return records, bytes
}

// overTakesRoom reports whether an expired record takes room, which is a mistake.
func (s *Bounded) overTakesRoom(r record, met bool, over int) bool {
	switch s.Fault {
	case "an expired record takes room":
		return true
	case "an expired record takes room until its ID is used":
		return !met
	case "four expired records take no room":
		return over > 4
	case "an abandoned record takes room when it expires":
		return r.running()
	}
	return false
}

// evict removes a record that is in the state, and reports whether there was one.
func (s *Bounded) evict(state idempotent.State) bool {
	for id, b := range s.records {
		if decode(b).State == state {
			delete(s.records, id)
			return true
		}
	}
	return false
}
