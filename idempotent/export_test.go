package idempotent

// AppendSum is appendSum.
func AppendSum(b []byte) []byte { return appendSum(b) }
