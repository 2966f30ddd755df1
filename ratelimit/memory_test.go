package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
)

// clocked is a Memory with a clock that the test moves.
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

func TestMemory(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*ratelimit.MemoryOptions{
		"default":   nil,
		"refuse":    {RefuseWhenFull: true},
		"one shard": {MaxKeys: 1000},
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

// An older time rewinds a rate.Limiter, which then adds the units of the same span again.
func TestOlderTimesAddNoUnits(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]time.Duration{"a second": time.Second, "an hour": time.Hour, "a nanosecond": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ratelimit.NewMemory(nil)
			limit := ratelimit.Limit{Quota: 1, Window: time.Second, Burst: 10}
			into := make([]ratelimit.Decision, 2)
			admitted := 0
			for i := range 1000 {
				now := epoch.Add(time.Hour)
				if i%2 == 0 {
					now = now.Add(late)
				}
				if i%3 == 0 { // also together with other keys
					require.NoError(t, m.TakeAllAt(now, []ratelimit.Charge{charge("k", limit), charge(strconv.Itoa(i), limit)}, into))
				} else {
					d := takeAt(t, m, now, charge("k", limit))
					into[0] = d
				}
				if into[0].Allowed {
					admitted++
				}
			}
			require.LessOrEqual(t, admitted, 10+int(min(late, 10*time.Second).Seconds()))
		})
	}
}

func TestTakeAllWithKeysOfDifferentTimesAddsNoUnits(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	limit := ratelimit.Limit{Quota: 1, Window: time.Second, Burst: 10}
	ahead := charge("ahead", ratelimit.PerSecond(1000))
	takeAt(t, m, epoch.Add(time.Second), ahead)
	for i := range 50 { // most of the keys are in another shard
		c, admitted := charge(strconv.Itoa(i), limit), 0
		into := make([]ratelimit.Decision, 2)
		for range 20 {
			require.NoError(t, m.TakeAllAt(epoch, []ratelimit.Charge{c, ahead}, into))
			d := takeAt(t, m, epoch, c)
			for _, d := range []ratelimit.Decision{into[0], d} {
				if d.Allowed {
					admitted++
				}
			}
		}
		require.LessOrEqual(t, admitted, 11)
	}
}

func TestChargesThatNeedNoBucketCreateNone(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	take := func(change func(*ratelimit.Charge)) {
		c := charge("k", ratelimit.PerHour(10))
		change(&c)
		_, _ = m.TakeAt(epoch, c)
		require.NoError(t, m.TakeAllAt(epoch, nil, nil))
		_ = m.TakeAllAt(epoch, []ratelimit.Charge{c}, make([]ratelimit.Decision, 1))
	}
	take(func(c *ratelimit.Charge) { c.Cost = 0 })
	take(func(c *ratelimit.Charge) { c.Cost = 11 })
	take(func(c *ratelimit.Charge) { c.Cost = -1 })
	take(func(c *ratelimit.Charge) { c.Limit = ratelimit.Limit{} })
	require.Zero(t, m.Stats().Keys)

	// A new key is not kept either if another rule denies the request.
	into := make([]ratelimit.Decision, 2)
	org := charge("org", ratelimit.PerHour(1))
	for i := range 10 {
		require.NoError(t, m.TakeAllAt(epoch, []ratelimit.Charge{charge(strconv.Itoa(i), ratelimit.PerHour(10)), org}, into))
	}
	require.Equal(t, 2, m.Stats().Keys) // org, and the one key that was admitted
}

func TestLargestMaxKeys(t *testing.T) {
	t.Parallel()
	const most = 1 << 30
	require.Panics(t, func() { ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: most + 1}) })
	require.NotPanics(t, func() { ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: most}) })

	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1 << 18}) // has as many shards as there can be
	into := make([]ratelimit.Decision, 2)
	for i := range 200 {
		charges := []ratelimit.Charge{charge("a"+strconv.Itoa(i), ratelimit.PerHour(1)), charge("b"+strconv.Itoa(i), ratelimit.PerHour(1))}
		for hours := range 3 {
			require.NoError(t, m.TakeAllAt(epoch.Add(time.Duration(3*i+hours)*time.Hour), charges, into))
			require.True(t, into[0].Allowed && into[1].Allowed, "%d, after %d hours", i, hours)
		}
	}
}

func TestConcurrentCallsOfASmallTable(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2100, RefuseWhenFull: refuse})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 1))
				into := make([]ratelimit.Decision, 3)
				for range 400 {
					now := epoch.Add(time.Duration(rnd.Int64N(int64(time.Minute))))
					key := func() ratelimit.Charge {
						c := charge(strconv.Itoa(rnd.IntN(10_000)), ratelimit.PerMinute(1+rnd.IntN(5)))
						c.Rule = strconv.Itoa(rnd.IntN(100))
						return c
					}
					_, _ = m.TakeAt(now, key())
					_ = m.TakeAllAt(now, []ratelimit.Charge{key(), key(), key()}, into)
					if stats := m.Stats(); stats.Keys > 2100 {
						t.Errorf("%d keys", stats.Keys)
					}
				}
			})
		}
		wg.Wait()
	}
}
