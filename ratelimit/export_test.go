package ratelimit

import "time"

// TakeAt is Take at a time of the test's choosing.
func (m *Memory) TakeAt(now time.Time, c Charge) (Decision, error) { return m.take(now, &c) }

// TakeAllAt is TakeAll at a time of the test's choosing.
func (m *Memory) TakeAllAt(now time.Time, charges []Charge, into []Decision) error {
	return m.takeAll(now, charges, into)
}

// AdjustAt is Adjust at a time of the test's choosing.
func (m *Memory) AdjustAt(now time.Time, c Charge) error { return m.adjust(now, &c) }
