package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
)

// epoch is when the clocks of these tests begin.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clocked is a Memory on a clock that stands still until it is moved.
type clocked struct {
	*ratelimit.Memory
	mu  sync.Mutex
	now time.Time
}

func newClocked(o *ratelimit.MemoryOptions) *clocked {
	return &clocked{Memory: ratelimit.NewMemory(o), now: epoch}
}

func (c *clocked) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clocked) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clocked) Take(_ context.Context, charge ratelimit.Charge) (ratelimit.Decision, error) {
	return c.TakeAt(c.time(), charge)
}

func (c *clocked) TakeAll(_ context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	return c.TakeAllAt(c.time(), charges, into)
}

func (c *clocked) Adjust(_ context.Context, charge ratelimit.Charge) error {
	return c.AdjustAt(c.time(), charge)
}

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*ratelimit.MemoryOptions{
		"by default": nil,
		"refuse":     {RefuseWhenFull: true},
		"one shard":  {MaxKeys: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ratelimittest.Run(t, func(*testing.T) (ratelimit.Limiter, func(time.Duration)) {
				c := newClocked(o)
				return c, c.advance
			})
		})
	}
}

func TestMemoryReadsTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := ratelimit.NewMemory(nil)
		c := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(2), Cost: 2}
		take := func() ratelimit.Decision {
			d, err := m.Take(t.Context(), c)
			require.NoError(t, err)
			return d
		}
		require.True(t, take().Allowed)
		require.Equal(t, time.Minute, take().RetryAfter)
		time.Sleep(time.Minute)
		into := make([]ratelimit.Decision, 1)
		require.NoError(t, m.TakeAll(t.Context(), []ratelimit.Charge{c}, into))
		require.True(t, into[0].Allowed)
	})
}
