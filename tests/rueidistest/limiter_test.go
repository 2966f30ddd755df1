package rueidistest_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// patient is the timeout of limiters in tests that are not about timeouts.
const patient = 30 * time.Second

func TestLimiter(t *testing.T) {
	t.Parallel()
	r := open(t, redistest.Start(t).Addr)
	ratelimittest.Run(t, func(t *testing.T) (ratelimit.Limiter, func(time.Duration)) {
		c := newClock(t, r)
		return &forgetful{
			Limiter: redislimit.NewRunner(c, &redislimit.Options{Prefix: c.key + ":", Timeout: patient}),
			clock:   c,
		}, func(d time.Duration) { c.advance(t, d) }
	})
}

// forgetful asks a new Limiter each time. A Limiter remembers denials until they end by the clock
// of the process, which the test cannot move.
type forgetful struct {
	*redislimit.Limiter
	clock *clock
}

func (f *forgetful) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	return f.fresh().Take(ctx, c)
}

func (f *forgetful) TakeAll(ctx context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	return f.fresh().TakeAll(ctx, charges, into)
}

func (f *forgetful) fresh() *redislimit.Limiter {
	return redislimit.NewRunner(f.clock, &redislimit.Options{Prefix: f.clock.key + ":", Timeout: patient})
}

// Callers that wait at the same time share calls, so this has long scripts and replies.
func TestProcessesShareALimit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := &redislimit.Options{Timeout: patient}
	var wg sync.WaitGroup
	var allowed atomic.Int64
	limit := ratelimit.Per(50, time.Hour)
	for range 2 {
		l := redislimit.NewRunner(open(t, server.Addr), options)
		for range 100 {
			wg.Go(func() {
				d, err := l.Take(t.Context(), ratelimit.Charge{Rule: "r", Key: "k", Limit: limit, Cost: 1})
				if err == nil && d.Allowed {
					allowed.Add(1)
				}
			})
		}
	}
	wg.Wait()
	require.EqualValues(t, 50, allowed.Load())
}

// The keys of a caller share a slot, and those of another caller have another.
func TestLimiterOnACluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	r := open(t, servers[0].Addr)
	l := redislimit.NewRunner(r, &redislimit.Options{Cluster: true, Timeout: patient})
	limit := ratelimit.Per(1, time.Hour)
	for key := range strings.SplitSeq("abcdefghijkl", "") {
		charges := []ratelimit.Charge{{Rule: "r", Key: key, Limit: limit, Cost: 1}, {Rule: "s", Key: key, Limit: limit, Cost: 1}}
		decisions := make([]ratelimit.Decision, 2)
		require.NoError(t, l.TakeAll(t.Context(), charges, decisions))
		require.True(t, decisions[0].Allowed && decisions[1].Allowed)
		require.NoError(t, l.TakeAll(t.Context(), charges, decisions))
		require.False(t, decisions[0].Allowed || decisions[1].Allowed)
	}
}
