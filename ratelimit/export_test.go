package ratelimit

import (
	"context"
	"sync"
	"time"
)

// TakeAt is Take at a time of the test's choosing.
func (m *Memory) TakeAt(now time.Time, c Charge) (Decision, error) { return m.take(now, &c) }

// TakeAllAt is TakeAll at a time of the test's choosing.
func (m *Memory) TakeAllAt(now time.Time, charges []Charge, into []Decision) error {
	return m.takeAll(now, charges, into)
}

// AdjustAt is Adjust at a time of the test's choosing.
func (m *Memory) AdjustAt(now time.Time, c Charge) error { return m.adjust(now, &c) }

// LocalSlots is the counter that MaxConcurrent has by default.
type LocalSlots struct{ local localSlots }

// Enter implements [Slots]. The local counter does not distinguish rules, since every
// MaxConcurrent has its own.
func (l *LocalSlots) Enter(_ context.Context, e Entry) (leave func(), free bool, err error) {
	key := e.Rule + "\x00" + e.Key
	free = l.local.enter(key, e.Max, e.Shadow)
	if !free && !e.Shadow {
		return nil, false, nil
	}
	return sync.OnceFunc(func() { l.local.leave(key) }), free, nil
}
