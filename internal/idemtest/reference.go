package idemtest

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Reference is a simple store: one lock, and records as JSON. It implements all optional
// interfaces except [idempotent.Executor] and [idempotent.LocalStore].
type Reference struct {
	// Pause is called between the two steps of a store that wrongly needs two.
	Pause func()

	now     func() time.Duration
	mu      sync.Mutex
	records map[idempotent.ID][]byte
	stopped chan struct{} // closed and replaced when a record stops running
}

// NewReference returns an empty store with the given clock.
func NewReference(now func() time.Duration) *Reference {
	return &Reference{
		Pause:   runtime.Gosched,
		now:     now,
		records: make(map[idempotent.ID][]byte),
		stopped: make(chan struct{}),
	}
}

// step performs an atomic step on a record.
func (s *Reference) step(id idempotent.ID, f func(r record, now time.Duration) record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	before := s.load(id, now)
	after := f(before, now)
	s.save(id, after)
	if before.running() && !after.running() {
		close(s.stopped)
		s.stopped = make(chan struct{})
	}
}

func (s *Reference) load(id idempotent.ID, now time.Duration) record {
	b, ok := s.records[id]
	if !ok {
		return absent
	}
	return decode(b).at(now)
}

func (s *Reference) save(id idempotent.ID, r record) {
	if r.State == idempotent.StateAbsent {
		delete(s.records, id)
		return
	}
	s.records[id] = encode(r)
}

func encode(r record) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // JSON can encode every record
	}
	return b
}

func decode(b []byte) (r record) {
	if err := json.Unmarshal(b, &r); err != nil {
		panic(err) // encode has written it
	}
	return r
}

// Acquire implements [idempotent.Store].
func (s *Reference) Acquire(ctx context.Context, c idempotent.Claim) (d idempotent.Decision, err error) {
	if err := ctx.Err(); err != nil {
		return d, err
	}
	s.step(c.ID, func(r record, now time.Duration) record {
		r, d = r.acquire(c, now)
		return r
	})
	return d, nil
}

// Renew implements [idempotent.Store].
func (s *Reference) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) { return r.renew(o.Token, d, now) })
}

// BeginEffect implements [idempotent.Store].
func (s *Reference) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) { return r.beginEffect(o.Token) })
}

// Finish implements [idempotent.Store].
func (s *Reference) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) { return r.finish(o.Token, c, now) })
}

// Resolve implements [idempotent.Resolver].
func (s *Reference) Resolve(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
	return s.change(ctx, id, func(r record, now time.Duration) (record, error) { return r.resolve(c, now) })
}

func (s *Reference) change(ctx context.Context, id idempotent.ID, f func(record, time.Duration) (record, error)) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.step(id, func(r record, now time.Duration) record {
		r, err = f(r, now)
		return r
	})
	return err
}

// Wait implements [idempotent.Waiter].
func (s *Reference) Wait(ctx context.Context, id idempotent.ID) error {
	for {
		s.mu.Lock()
		running, stopped := s.load(id, s.now()).running(), s.stopped
		s.mu.Unlock()
		if !running {
			return nil
		}
		select {
		case <-stopped:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Sweep implements [idempotent.Sweeper].
func (s *Reference) Sweep(_ context.Context, limit int) (removed int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id := range s.records {
		if s.load(id, now).State == idempotent.StateAbsent && (limit == 0 || removed < limit) {
			delete(s.records, id)
			removed++
		}
	}
	return removed, nil
}

// ListUnknown implements [idempotent.UnknownLister].
func (s *Reference) ListUnknown(_ context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var list []idempotent.UnknownRecord
	for id := range s.records {
		if r := s.load(id, now); r.unknown(now) && bytes.Compare(id[:], after[:]) > 0 {
			list = append(list, idempotent.UnknownRecord{ID: id, Scope: r.Scope, Attempt: r.Attempt, Left: r.Expiry - now})
		}
	}
	slices.SortFunc(list, func(a, b idempotent.UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}

// Clock is a clock that stands still until it is advanced.
type Clock struct {
	mu  sync.Mutex
	now time.Duration
}

// Now returns the time since the clock was made.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance advances the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
}
