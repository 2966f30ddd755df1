package ratelimit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/ratelimit"
)

// The reference is one rate.Limiter per key, which are never dropped.
func TestDroppingFullBucketsChangesNoDecision(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 600, RefuseWhenFull: seed%2 == 0})
		reference := map[string]*rate.Limiter{}
		now := epoch
		denials := 0
		for range 20_000 {
			now = now.Add(time.Duration(rnd.Int64N(int64(20 * time.Millisecond))))
			i := int(float64(2000) * rnd.Float64() * rnd.Float64() * rnd.Float64()) // some keys are used more than others
			limit := ratelimit.Limit{Quota: 1 + i%7, Window: time.Second, Burst: 1 + i%5}
			c := charge(strconv.Itoa(i), limit)
			c.Cost = rnd.IntN(3)
			l := reference[c.Key]
			if l == nil {
				l = rate.NewLimiter(rate.Limit(limit.Quota), limit.Burst)
				reference[c.Key] = l
			}
			d, err := m.TakeAt(now, c)
			allowed := l.AllowN(now, c.Cost)
			if err != nil || d.Allowed != allowed || math.Abs(l.TokensAt(now)-float64(d.Remaining)) > 1 {
				t.Fatalf("%+v: %+v, %v; the reference has %v, %v tokens", c, d, err, allowed, l.TokensAt(now))
			}
			if !d.Allowed {
				denials++
			}
		}
		stats := m.Stats()
		require.Zero(t, stats.Evicted)
		require.Zero(t, stats.Refused)
		require.LessOrEqual(t, stats.Keys, 600)
		require.Greater(t, len(reference), 1000, "more keys than the table holds")
		require.Greater(t, denials, 100)
	}
}

// The bucket was full when it was dropped. Before that, at the older time, it was not.
func TestOlderTimesDoNotRefillADroppedBucket(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2})
	take := func(now time.Time, key string) ratelimit.Decision {
		d := takeAt(t, m, now, charge(key, ratelimit.PerSecond(10)))
		return d
	}
	for range 10 {
		take(epoch, "k")
	}
	full := epoch.Add(time.Second)
	take(full, "a")
	take(full, "b") // k makes room
	for range 10 {
		require.True(t, take(epoch, "k").Allowed)
	}
	require.False(t, take(full, "k").Allowed)
}

// A bucket is drained under a large limit and full under a small one. If it were dropped
// then, it would come back full under the large limit.
func TestChangingThePlanDoesNotRefillABucket(t *testing.T) {
	t.Parallel()
	large, small := ratelimit.PerHour(1000), ratelimit.PerSecond(1)
	for name, row := range map[string]struct {
		options *ratelimit.MemoryOptions
		flood   int
	}{
		"with room":  {nil, 1000},
		"full table": {&ratelimit.MemoryOptions{MaxKeys: 16, RefuseWhenFull: true}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ratelimit.NewMemory(row.options)
			now := epoch
			take := func(key string, l ratelimit.Limit, cost int) ratelimit.Decision {
				d := takeAt(t, m, now, ratelimit.Charge{Rule: "p", Key: key, Limit: l, Cost: cost})
				return d
			}
			flood := func() {
				for i := range row.flood {
					_, _ = m.TakeAt(now, charge(fmt.Sprint(now.Unix(), i), small))
				}
			}
			require.True(t, take("k", large, 1000).Allowed)
			now = now.Add(time.Second)
			require.False(t, take("k", small, 1).Allowed)
			now = now.Add(2 * time.Minute)
			flood()
			require.False(t, take("k", large, 500).Allowed)

			now = now.Add(time.Hour) // full under both limits
			flood()
			now = now.Add(time.Second)
			require.True(t, take("k", large, 1000).Allowed)
		})
	}
}

func TestBucketIsKeptUntilItIsFullByItsEarlierLimit(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
	take := func(after time.Duration, key string, l ratelimit.Limit, cost int) (bool, error) {
		c := charge(key, l)
		c.Cost = cost
		d, err := m.TakeAt(epoch.Add(after), c)
		return d.Allowed, err
	}
	const drained = 5 * time.Hour
	large, small := ratelimit.PerHour(100), ratelimit.PerSecond(1)
	for _, row := range []struct {
		after   time.Duration
		key     string
		limit   ratelimit.Limit
		cost    int
		allowed bool
		err     error
	}{
		{0, "k", large, 1, true, nil},
		{drained, "k", large, 100, true, nil},
		{drained + time.Second, "k", small, 1, false, nil},
		{drained + 10*time.Second, "other", small, 1, false, ratelimit.ErrFull},
		{drained + time.Hour - time.Second, "other", small, 1, false, ratelimit.ErrFull},
		{drained + time.Hour, "other", small, 1, true, nil},
	} {
		allowed, err := take(row.after, row.key, row.limit, row.cost)
		require.Equal(t, row.err, err, "%s after %v", row.key, row.after)
		require.Equal(t, row.allowed, allowed, "%s after %v", row.key, row.after)
	}
	require.Zero(t, m.Stats().Evicted)
}

func TestBucketsThatAreFullForAMinuteAreDropped(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1000})
	now := epoch
	take := func(key int) {
		now = now.Add(time.Second)
		takeAt(t, m, now, charge(strconv.Itoa(key), ratelimit.PerSecond(1000)))
	}
	for i := range 50 {
		take(i)
	}
	require.Equal(t, 50, m.Stats().Keys)
	for i := range 2000 {
		take(100 + i)
		require.LessOrEqual(t, m.Stats().Keys, 150)
	}
	require.Zero(t, m.Stats().Evicted)
}

func TestFullBucketsAreDroppedImmediatelyWhenTheTableIsFull(t *testing.T) {
	t.Parallel()
	for keys, left := range map[int][]int{100: {99, 100, 99, 100}, 101: {101, 100, 101, 100}, 200: {101, 102, 103, 104}} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: keys})
		for i := range 100 {
			takeAt(t, m, epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1)))
		}
		for i, want := range left {
			takeAt(t, m, epoch.Add(time.Hour), charge("new "+strconv.Itoa(i), ratelimit.PerHour(1)))
			require.Equal(t, ratelimit.MemoryStats{Keys: want}, m.Stats(), "%d of %d", i, keys)
		}
	}
}

// Each new key drops two full buckets.
func TestEverySlotIsReclaimed(t *testing.T) {
	t.Parallel()
	for _, keys := range []int{2, 68, 136, 200} { // a block has 68 entries
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: keys})
		for i := range keys {
			takeAt(t, m, epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1)))
		}
		for i := range keys / 2 {
			takeAt(t, m, epoch.Add(2*time.Hour), charge(strconv.Itoa(-1-i), ratelimit.PerHour(1)))
		}
		require.Equal(t, ratelimit.MemoryStats{Keys: keys / 2}, m.Stats())
	}
}
