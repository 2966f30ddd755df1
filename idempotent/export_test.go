package idempotent

// AppendSum is appendSum.
func AppendSum(b []byte) []byte { return appendSum(b) }

// Waiting returns how many entries the guard holds for calls that run or wait.
func (g *Guard) Waiting() int {
	g.flights.mu.Lock()
	defer g.flights.mu.Unlock()
	return g.flights.waiting + len(g.flights.scopes) + len(g.flights.flying)
}

// ParseKey is parseKey.
func ParseKey(lines []string) (string, error) { return parseKey(lines) }

// CanonicalJSON is canonicalJSON.
func CanonicalJSON(b []byte) ([]byte, bool) { return canonicalJSON(b) }
