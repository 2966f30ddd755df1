package retry

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/internal/retryhint"
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

// askedToWait reads Retry-After (RFC 9110, section 10.2.3): seconds, or any of the three HTTP dates. It is 0 where there is
// no time to wait for: no field, zero, a date that has passed, or a value that means nothing. Of several lines the longest
// wait counts, since it is the early retry that costs the server something.
func askedToWait(h http.Header, now time.Time) (longest time.Duration) {
	for _, line := range h["Retry-After"] {
		d, _ := retryhint.Wait(line, now)
		longest = max(longest, d)
	}
	return longest
}

// sleep waits for d, and returns the context's error at once when that is done first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// endsBefore tells whether ctx ends before, or as, d has passed.
func endsBefore(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= d
}
