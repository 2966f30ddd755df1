package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// never is the longest time.Duration, for limits that are never reached.
const never = time.Duration(math.MaxInt64)

// ceiling returns the longest wait after attempt n: BaseDelay, doubled n-1 times, up to
// MaxDelay.
func (p *Policy) ceiling(n int) time.Duration {
	if p.BaseDelay == 0 {
		return 0
	}
	d := min(p.BaseDelay, p.MaxDelay)
	for range n - 1 {
		if d > p.MaxDelay/2 {
			return p.MaxDelay
		}
		d *= 2
	}
	return d
}

// after returns d plus a random time of up to BaseDelay, so that clients with the same
// Retry-After do not all come back at the same moment.
func (p *Policy) after(d time.Duration) time.Duration {
	return d + min(jitter(p.BaseDelay), never-d)
}

// jitter returns a random wait between 0 and ceiling.
func jitter(ceiling time.Duration) time.Duration {
	return rand.N(min(ceiling, never-1) + 1)
}
