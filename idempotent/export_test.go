package idempotent

import "time"

// SetNow replaces the store's clock.
func (m *Memory) SetNow(now func() time.Duration) { m.now = now }

// Scopes tells of how many scopes the store holds what they use.
func (m *Memory) Scopes() (n int) {
	for i := range m.shards {
		n += len(m.shards[i].scopes)
	}
	return n
}

// Running tells how many records are RUNNING.
func (m *Memory) Running() (n int) {
	for i := range m.shards {
		for _, e := range m.shards[i].entries {
			if e.state == InFlight {
				n++
			}
		}
	}
	return n
}

// ParseKey is parseKey.
func ParseKey(lines []string) (string, error) { return parseKey(lines) }

// CanonicalJSON is canonicalJSON.
func CanonicalJSON(b []byte) []byte { return canonicalJSON(b) }

// AppendSum is appendSum.
func AppendSum(b []byte) []byte { return appendSum(b) }
