package idempotent

import "time"

// SetNow replaces the store's clock.
func (m *Memory) SetNow(now func() time.Duration) { m.now = now }

// ParseKey is parseKey.
func ParseKey(lines []string) (string, error) { return parseKey(lines) }

// CanonicalJSON is canonicalJSON.
func CanonicalJSON(b []byte) []byte { return canonicalJSON(b) }

// AppendSum is appendSum.
func AppendSum(b []byte) []byte { return appendSum(b) }
