package idempotent

// ParseKey is parseKey.
func ParseKey(lines []string) (string, error) { return parseKey(lines) }

// CanonicalJSON is canonicalJSON.
func CanonicalJSON(b []byte) ([]byte, bool) { return canonicalJSON(b) }
