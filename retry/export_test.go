package retry

import "time"

// Ceiling returns the longest wait of the policy after attempt n.
func Ceiling(p *Policy, n int) time.Duration {
	withDefaults := p.withDefaults(false)
	return withDefaults.ceiling(n)
}
