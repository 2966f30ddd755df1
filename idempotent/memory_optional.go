package idempotent

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// Local implements [LocalStore]. It returns true.
func (m *Memory) Local() bool { return true }

// Wait implements [Waiter].
func (m *Memory) Wait(ctx context.Context, id ID) error {
	s, now := m.lock(id)
	e := s.find(id, now)
	if e == nil || e.state != StateRunning {
		s.mu.Unlock()
		return nil
	}
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	changed := e.changed
	s.mu.Unlock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sweep implements [Sweeper]. It locks each shard while it looks through the shard's records,
// for about ten microseconds per thousand records.
func (m *Memory) Sweep(ctx context.Context, limit int) (removed int, err error) {
	for i := range m.shards {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		left := -1
		if limit > 0 {
			if left = limit - removed; left == 0 {
				break
			}
		}
		s := &m.shards[i]
		s.mu.Lock()
		removed += s.sweep(m.now(), left)
		s.mu.Unlock()
	}
	return removed, nil
}

// Resolve implements [Resolver].
func (m *Memory) Resolve(ctx context.Context, id ID, c Completion) error {
	if err := c.Validate(StateDone, StateNotKept, StateAbsent); err != nil {
		return fmt.Errorf("idempotent: Memory: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s, now := m.lock(id)
	defer s.mu.Unlock()
	e := s.find(id, now)
	if e == nil || !e.unknown(now) {
		return ErrNotUnknown
	}
	if err := s.finish(e, c, now); err != nil {
		return err
	}
	e.token = NewToken() // the old owner gets ErrLost
	return nil
}

// ListUnknown implements [UnknownLister]. It looks through the whole store.
func (m *Memory) ListUnknown(ctx context.Context, after ID, limit int) ([]UnknownRecord, error) {
	var list []UnknownRecord
	for i := range m.shards {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = m.shards[i].appendUnknown(list, after, m.now)
		slices.SortFunc(list, func(a, b UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		if limit > 0 && len(list) > limit {
			list = list[:limit]
		}
	}
	return list, nil
}
