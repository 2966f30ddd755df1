package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// never is the longest time.Duration: a limit that is never met.
const never = time.Duration(math.MaxInt64)

// backoff draws the wait that follows attempt n: between nothing and BaseDelay doubled n-1 times, at most MaxDelay.
func (p *Policy) backoff(n int) time.Duration {
	if p.BaseDelay == 0 {
		return 0
	}
	ceiling := min(p.BaseDelay, p.MaxDelay)
	for range n - 1 {
		if ceiling > p.MaxDelay/2 {
			ceiling = p.MaxDelay
			break
		}
		ceiling *= 2
	}
	return p.jitter(ceiling)
}

// jitter draws from [0, ceiling].
func (p *Policy) jitter(ceiling time.Duration) time.Duration {
	switch {
	case ceiling <= 0:
		return 0
	case p.Jitter != nil:
		return min(max(p.Jitter(ceiling), 0), ceiling)
	default:
		return rand.N(min(ceiling, never-1) + 1)
	}
}
