package redislimit_test

import (
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t).Addr)
	ratelimittest.Run(t, func(t *testing.T) (ratelimit.Limiter, func(time.Duration)) {
		c := newClock(t, client)
		return c.limiter(), func(d time.Duration) { c.advance(t, d) }
	})
}
