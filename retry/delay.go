package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// never is the longest time.Duration, for limits that are never met.
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

// after returns d and a little more, so that clients that were told the same time do not
// all come back in the same moment.
func (p *Policy) after(d time.Duration) time.Duration {
	return d + min(jitter(p.BaseDelay), never-d)
}

// jitter draws a wait from [0, ceiling].
func jitter(ceiling time.Duration) time.Duration {
	return rand.N(min(ceiling, never-1) + 1)
}
