package modeltest_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// reference is a Store made of records: what the model says, under one lock. The seeded bugs wrap it.
type reference struct {
	now     func() time.Duration
	pause   func() // lets others in, within a bug
	mu      sync.Mutex
	records map[idempotent.ID]record
}

func newReference(now func() time.Duration, pause func()) *reference {
	return &reference{now: now, pause: pause, records: make(map[idempotent.ID]record)}
}

// do is one atomic step.
func (s *reference) do(c call) result {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.at = s.now()
	answer, next := s.records[c.claim.ID].step(c)
	s.records[c.claim.ID] = next
	return answer
}

func (s *reference) get(id idempotent.ID) record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[id].after(s.now())
}

func (s *reference) set(id idempotent.ID, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[id] = r
}

func (s *reference) Acquire(_ context.Context, c idempotent.Claim) (idempotent.Verdict, error) {
	return s.do(call{op: "acquire", claim: c}).verdict()
}

func (r result) verdict() (idempotent.Verdict, error) {
	v := idempotent.Verdict{State: r.state, Attempt: r.attempt}
	if r.state == idempotent.Done || r.state == idempotent.Sealed {
		v.Record = []byte(r.payload)
	}
	return v, r.err
}

func claimOf(l idempotent.Lease, d time.Duration) idempotent.Claim {
	return idempotent.Claim{ID: l.ID, Token: l.Token, Lease: d}
}

func (s *reference) Renew(_ context.Context, l idempotent.Lease, d time.Duration) error {
	return s.do(call{op: "renew", claim: claimOf(l, d)}).err
}

func (s *reference) Mark(_ context.Context, l idempotent.Lease) error {
	return s.do(call{op: "mark", claim: claimOf(l, 0)}).err
}

func (s *reference) Finish(_ context.Context, l idempotent.Lease, o idempotent.Outcome) error {
	switch o.State {
	case idempotent.Done, idempotent.Sealed, idempotent.Unknown, idempotent.Released:
	default:
		return errors.New("invalid outcome")
	}
	return s.do(call{op: "finish", claim: claimOf(l, 0), outcome: o, payload: string(o.Record)}).err
}

func (s *reference) Sweep(_ context.Context, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := 0
	for id, r := range s.records {
		if r.after(s.now()).phase == absent && (limit == 0 || removed < limit) {
			delete(s.records, id)
			if r.phase != absent {
				removed++
			}
		}
	}
	return removed, nil
}

// storeBugs wrap a store. Each is one that stores have had.
var storeBugs = map[string]func(s *reference) idempotent.Store{
	"blind Finish":                func(s *reference) idempotent.Store { return blindFinish{s} },
	"blind Renew":                 func(s *reference) idempotent.Store { return blindRenew{s} },
	"own token rejected":          func(s *reference) idempotent.Store { return rejectsOwnToken{s} },
	"lease used as retention":     func(s *reference) idempotent.Store { return leaseAsRetention{s} },
	"get, then set":               func(s *reference) idempotent.Store { return getThenSet{s} },
	"sweep without a second look": func(s *reference) idempotent.Store { return sweepsWithoutLooking{s} },
	"takeover of a marked record": func(s *reference) idempotent.Store { return takesOverMarked{s} },
	"print compared last":         func(s *reference) idempotent.Store { return comparesPrintLast{s} },
}

// blindFinish changes the record whoever owns it.
type blindFinish struct{ *reference }

func (s blindFinish) Finish(ctx context.Context, l idempotent.Lease, o idempotent.Outcome) error {
	if owner := s.get(l.ID); owner.phase == running {
		l.Token = owner.token
	}
	return s.reference.Finish(ctx, l, o)
}

// blindRenew prolongs the lease of whoever holds it.
type blindRenew struct{ *reference }

func (s blindRenew) Renew(ctx context.Context, l idempotent.Lease, d time.Duration) error {
	if owner := s.get(l.ID); owner.phase == running {
		l.Token = owner.token
	}
	return s.reference.Renew(ctx, l, d)
}

// rejectsOwnToken makes the winner of a lost reply its own loser.
type rejectsOwnToken struct{ *reference }

func (s rejectsOwnToken) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Verdict, error) {
	if r := s.get(c.ID); r.phase == running && r.token == c.Token && r.print == c.Print {
		return idempotent.Verdict{State: idempotent.InFlight}, nil
	}
	return s.reference.Acquire(ctx, c)
}

// leaseAsRetention forgets the print and the attempts when the lease is over.
type leaseAsRetention struct{ *reference }

func (s leaseAsRetention) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Verdict, error) {
	c.Retention = c.Lease
	return s.reference.Acquire(ctx, c)
}

// getThenSet decides in one step and writes in another.
type getThenSet struct{ *reference }

func (s getThenSet) Acquire(_ context.Context, c idempotent.Claim) (idempotent.Verdict, error) {
	answer, next := s.get(c.ID).step(call{op: "acquire", claim: c, at: s.now()})
	runtime.Gosched()
	s.set(c.ID, next)
	return answer.verdict()
}

// sweepsWithoutLooking deletes what was over when it looked.
type sweepsWithoutLooking struct{ *reference }

func (s sweepsWithoutLooking) Sweep(context.Context, int) (int, error) {
	var over []idempotent.ID
	s.mu.Lock()
	for id, r := range s.records {
		if r.after(s.now()).phase == absent {
			over = append(over, id)
		}
	}
	s.mu.Unlock()
	s.pause()
	for _, id := range over {
		s.set(id, record{})
	}
	return len(over), nil
}

// takesOverMarked ignores the point of no return.
type takesOverMarked struct{ *reference }

func (s takesOverMarked) Mark(_ context.Context, l idempotent.Lease) error {
	if r := s.get(l.ID); r.phase != running || r.token != l.Token {
		return idempotent.ErrLost
	}
	return nil
}

// comparesPrintLast tells of a mismatch only once the first has finished.
type comparesPrintLast struct{ *reference }

func (s comparesPrintLast) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Verdict, error) {
	if r := s.get(c.ID); r.phase == running && r.lease > s.now() && r.token != c.Token {
		return idempotent.Verdict{State: idempotent.InFlight}, nil
	}
	return s.reference.Acquire(ctx, c)
}
