package ratelimit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/ratelimit"
)

// These tests are about the table of buckets: its clock, its cap, and what it forgets.

func charge(key string, l ratelimit.Limit) ratelimit.Charge {
	return ratelimit.Charge{Rule: "p", Key: key, Limit: l, Cost: 1}
}

// TestStaleClocksMintNothing has one caller that is a second behind the other. A bare rate.Limiter
// is rewound by it, and gives out the tokens of the same second again and again.
func TestStaleClocksMintNothing(t *testing.T) {
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
				if i%3 == 0 { // other keys, too, and several at a time
					require.NoError(t, m.TakeAllAt(now, []ratelimit.Charge{charge("k", limit), charge(strconv.Itoa(i), limit)}, into))
				} else {
					d, err := m.TakeAt(now, charge("k", limit))
					require.NoError(t, err)
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

// A unit that is there but for the rounding of a float64 counts: after 290 ms at 100 a second there
// are 28.999999999999996, which admit 29.
func TestRemainingIsWhatWouldBeAdmitted(t *testing.T) {
	t.Parallel()
	const unit = 10 * time.Millisecond
	for burst := 1; burst <= 100; burst++ {
		m := ratelimit.NewMemory(nil)
		c := charge("k", ratelimit.Limit{Quota: 100, Window: time.Second, Burst: burst})
		c.Cost = burst
		_, err := m.TakeAt(epoch, c)
		require.NoError(t, err)
		c.Cost = 0
		for n := range burst + 1 {
			d, err := m.TakeAt(epoch.Add(time.Duration(n)*unit), c)
			require.NoError(t, err)
			require.Equal(t, n, d.Remaining, "of %d", burst)
			refill, reset := unit, time.Duration(burst-n)*unit
			if n == burst {
				refill = 0
			}
			require.InDelta(t, refill, d.RefillAfter, 1, "%d of %d", n, burst)
			require.InDelta(t, reset, d.ResetAfter, 1, "%d of %d", n, burst)
		}
	}
}

// TestClockOfOneKeyIsThatOfAnother charges two keys together, of which one was seen a second later
// than the other.
func TestClockOfOneKeyIsThatOfAnother(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	limit := ratelimit.Limit{Quota: 1, Window: time.Second, Burst: 10}
	ahead := charge("ahead", ratelimit.PerSecond(1000))
	_, err := m.TakeAt(epoch.Add(time.Second), ahead)
	require.NoError(t, err)
	for i := range 50 { // in most cases the two are in different parts of the table
		c, admitted := charge(strconv.Itoa(i), limit), 0
		into := make([]ratelimit.Decision, 2)
		for range 20 {
			require.NoError(t, m.TakeAllAt(epoch, []ratelimit.Charge{c, ahead}, into))
			d, err := m.TakeAt(epoch, c)
			require.NoError(t, err)
			for _, d := range []ratelimit.Decision{into[0], d} {
				if d.Allowed {
					admitted++
				}
			}
		}
		require.LessOrEqual(t, admitted, 11)
	}
}

// TestRetryAfterOfSlowLimits looks at limits so slow that a float64 of seconds is some nanoseconds
// off, at instants at which that decides about a whole second.
func TestRetryAfterOfSlowLimits(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 2000 {
		c := charge(strconv.Itoa(i), ratelimit.Per(1+rnd.IntN(3), time.Duration(1+rnd.IntN(300_000_000))*time.Second))
		c.Cost = c.Limit.Quota
		small := &ratelimit.MemoryOptions{MaxKeys: 1}
		early, inTime := ratelimit.NewMemory(small), ratelimit.NewMemory(small)
		now := epoch
		take := func(m *ratelimit.Memory) ratelimit.Decision {
			d, err := m.TakeAt(now, c)
			require.NoError(t, err)
			return d
		}
		take(early)
		take(inTime)
		now = now.Add(time.Duration(rnd.Int64N(int64(c.Limit.Window/time.Second))) * time.Second)
		d := take(early)
		require.Equal(t, d, take(inTime))
		require.False(t, d.Allowed)
		now = now.Add(d.RetryAfter - time.Second)
		if d.RetryAfter > time.Second {
			require.False(t, take(early).Allowed, "a second before %v: %+v", d.RetryAfter, c)
		}
		now = now.Add(time.Second)
		require.True(t, take(inTime).Allowed, "after %v: %+v", d.RetryAfter, c)
	}
}

// TestDroppedBucketsDoNotComeBackYounger drops a full bucket and then looks at it with the clock of
// before, when it was not yet full.
func TestDroppedBucketsDoNotComeBackYounger(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2})
	take := func(now time.Time, key string) ratelimit.Decision {
		d, err := m.TakeAt(now, charge(key, ratelimit.PerSecond(10)))
		require.NoError(t, err)
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

// TestForgettingFullBucketsChangesNothing compares with a table that forgets nothing.
func TestForgettingFullBucketsChangesNothing(t *testing.T) {
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
				t.Fatalf("%+v: %+v, %v; the reference says %v and keeps %v", c, d, err, allowed, l.TokensAt(now))
			}
			if !d.Allowed {
				denials++
			}
		}
		stats := m.Stats()
		require.Zero(t, stats.Evicted)
		require.Zero(t, stats.Refused)
		require.LessOrEqual(t, stats.Keys, 600)
		require.Greater(t, len(reference), 1000, "more keys than there is room for")
		require.Greater(t, denials, 100)
	}
}

// TestNoMoreThanTheBurstAtOneInstant also asks for limits that are faster than any clock: package
// rate takes less than a nanosecond's wait for none, in which those would give back units without
// end.
func TestNoMoreThanTheBurstAtOneInstant(t *testing.T) {
	t.Parallel()
	for _, l := range []ratelimit.Limit{
		{Quota: 1e9, Window: time.Second, Burst: 10},
		{Quota: 1, Window: 1, Burst: 10},
		{Quota: 1e9, Window: math.MaxInt64, Burst: 10},
		{Quota: 2, Window: 1, Burst: 10},
		{Quota: 1e9, Window: 1, Burst: 10},
		{Quota: 1e9, Window: time.Second - 1, Burst: 10},
	} {
		m := ratelimit.NewMemory(nil)
		admitted := 0
		for range 1000 {
			d, err := m.TakeAt(epoch, charge("k", l))
			if fast := int64(l.Quota) > int64(l.Window); fast {
				require.Error(t, err, "%+v", l)
			} else {
				require.NoError(t, err, "%+v", l)
			}
			if d.Allowed {
				admitted++
			}
		}
		require.LessOrEqual(t, admitted, 10, "%+v", l)
	}
}

// TestAnotherPlanAndBackDoesNotRefillABucket drains a bucket, has it filled up under a plan that
// holds little, and goes back to the one that holds much. While the table drops full buckets, this
// one is not to be among them: it would come back as a full one of the large plan.
func TestAnotherPlanAndBackDoesNotRefillABucket(t *testing.T) {
	t.Parallel()
	large, small := ratelimit.PerHour(1000), ratelimit.PerSecond(1)
	for name, row := range map[string]struct {
		options *ratelimit.MemoryOptions
		flood   int
	}{
		"with room":  {nil, 1000},
		"at the cap": {&ratelimit.MemoryOptions{MaxKeys: 16, RefuseWhenFull: true}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ratelimit.NewMemory(row.options)
			now := epoch
			take := func(key string, l ratelimit.Limit, cost int) ratelimit.Decision {
				d, err := m.TakeAt(now, ratelimit.Charge{Rule: "p", Key: key, Limit: l, Cost: cost})
				require.NoError(t, err)
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

			now = now.Add(time.Hour) // it is full by both
			flood()
			now = now.Add(time.Second)
			require.True(t, take("k", large, 1000).Allowed)
		})
	}
}

// TestBucketsThatAreFullForAMinuteGo shows that a table under its cap does not grow with the number
// of keys that it has ever seen, and that keys in use are not dropped only to be made again.
func TestBucketsThatAreFullForAMinuteGo(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1000})
	now := epoch
	take := func(key int) {
		now = now.Add(time.Second)
		_, err := m.TakeAt(now, charge(strconv.Itoa(key), ratelimit.PerSecond(1000)))
		require.NoError(t, err)
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

func TestEarlyEvictionsAreCounted(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 10})
	for i := range 25 {
		_, err := m.TakeAt(epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1)))
		require.NoError(t, err)
	}
	require.Equal(t, ratelimit.MemoryStats{Keys: 10, Evicted: 15}, m.Stats())

	later := epoch.Add(time.Hour) // all of them are full
	for i := range 25 {
		_, err := m.TakeAt(later.Add(time.Duration(i)*time.Hour), charge("later "+strconv.Itoa(i), ratelimit.PerHour(1)))
		require.NoError(t, err)
	}
	require.EqualValues(t, 15, m.Stats().Evicted)
}

func TestAsManyKeysAsThereMayBe(t *testing.T) {
	t.Parallel()
	for _, maxKeys := range []int{1, 2, 1023, 2049, 10_007, 33_333} { // of which most are no multiple of the number of parts
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: maxKeys})
		for i := range 2*maxKeys + 1000 {
			if _, err := m.TakeAt(epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1))); err != nil {
				t.Fatal(err)
			}
		}
		require.Equal(t, maxKeys, m.Stats().Keys)
	}
}

func TestNothingIsKeptForWhatNeedsNoBucket(t *testing.T) {
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

	// Nor for a stranger whom a rule that is known already denies.
	into := make([]ratelimit.Decision, 2)
	org := charge("org", ratelimit.PerHour(1))
	for i := range 10 {
		require.NoError(t, m.TakeAllAt(epoch, []ratelimit.Charge{charge(strconv.Itoa(i), ratelimit.PerHour(10)), org}, into))
	}
	require.Equal(t, 2, m.Stats().Keys) // org, and the key that was admitted
}

// TestFloodOfNewKeysDoesNotResetABucket has an attacker drain its own bucket, and then try to push
// it out of the table.
func TestFloodOfNewKeysDoesNotResetABucket(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		flood  ratelimit.Limit
		refuse bool
	}{
		"of the same limit":         {ratelimit.PerHour(5), false},
		"of a faster limit":         {ratelimit.PerSecond(100), false},
		"of a slow, wide one":       {ratelimit.PerHour(1000), false},
		"drained, and then refused": {ratelimit.PerHour(1), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const maxKeys = 1 << 14
			m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: maxKeys, RefuseWhenFull: row.refuse})
			own := charge("attacker", ratelimit.PerHour(5))
			now := epoch
			for i := range 6 {
				d, err := m.TakeAt(now, own)
				require.NoError(t, err)
				require.Equal(t, i < 5, d.Allowed)
			}
			for i := range 3 * maxKeys {
				now = now.Add(time.Microsecond)
				if _, err := m.TakeAt(now, charge(strconv.Itoa(i), row.flood)); err != nil {
					require.ErrorIs(t, err, ratelimit.ErrFull)
				}
			}
			d, err := m.TakeAt(now, own)
			require.NoError(t, err)
			require.False(t, d.Allowed)
			require.LessOrEqual(t, m.Stats().Keys, maxKeys)
		})
	}
}

func TestAtCap(t *testing.T) {
	t.Parallel()
	limit := ratelimit.PerHour(3)
	type multi struct {
		name string
		take func(m *ratelimit.Memory, now time.Time, key string) (ratelimit.Decision, error)
	}
	for _, way := range []multi{
		{"Take", func(m *ratelimit.Memory, now time.Time, key string) (ratelimit.Decision, error) {
			return m.TakeAt(now, charge(key, limit))
		}},
		{"TakeAll", func(m *ratelimit.Memory, now time.Time, key string) (ratelimit.Decision, error) {
			into := make([]ratelimit.Decision, 1)
			err := m.TakeAllAt(now, []ratelimit.Charge{charge(key, limit)}, into)
			return into[0], err
		}},
	} {
		full := func(t *testing.T, refuse bool) *ratelimit.Memory {
			m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 20, RefuseWhenFull: refuse})
			for i := range 20 {
				d, err := way.take(m, epoch, strconv.Itoa(i))
				require.NoError(t, err)
				require.True(t, d.Allowed)
			}
			return m
		}
		t.Run(way.name+"/refuse", func(t *testing.T) {
			t.Parallel()
			m := full(t, true)
			_, err := way.take(m, epoch, "new")
			require.ErrorIs(t, err, ratelimit.ErrFull)
			d, err := way.take(m, epoch, "7")
			require.NoError(t, err)
			require.Equal(t, 1, d.Remaining)
			_, err = way.take(m, epoch.Add(2*time.Hour), "new")
			require.NoError(t, err)
		})
		t.Run(way.name+"/evict", func(t *testing.T) {
			t.Parallel()
			m := full(t, false)
			d, err := way.take(m, epoch, "new")
			require.NoError(t, err)
			require.Equal(t, 2, d.Remaining)
			require.Equal(t, ratelimit.MemoryStats{Keys: 20, Evicted: 1}, m.Stats())
		})
	}
}

// TestTakeAllWithoutRoomChargesNothing: one of the keys is known, the others find no room.
func TestTakeAllWithoutRoomChargesNothing(t *testing.T) {
	t.Parallel()
	limit := ratelimit.PerHour(3)
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2, RefuseWhenFull: true})
	_, err := m.TakeAt(epoch, charge("known", limit))
	require.NoError(t, err)
	err = m.TakeAllAt(epoch, []ratelimit.Charge{
		charge("known", limit), charge("new", limit), {Rule: "q", Key: "k", Limit: limit, Cost: 1},
	}, make([]ratelimit.Decision, 3))
	require.ErrorIs(t, err, ratelimit.ErrFull)
	for key, want := range map[string]int{"known": 2, "new": 3} {
		c := charge(key, limit)
		c.Cost = 0
		d, err := m.TakeAt(epoch, c)
		require.NoError(t, err)
		require.Equal(t, want, d.Remaining)
	}
}

// At the cap, a bucket that is full goes without a trace, wherever it is, and one that is not
// stays.
func TestFullBucketMakesRoomWhereverItIs(t *testing.T) {
	t.Parallel()
	for place := range 8 {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 8, RefuseWhenFull: true})
		for i := range 8 {
			limit := ratelimit.PerHour(1)
			if i == place {
				limit = ratelimit.PerSecond(1)
			}
			_, err := m.TakeAt(epoch, charge(strconv.Itoa(i), limit))
			require.NoError(t, err)
		}
		_, err := m.TakeAt(epoch.Add(time.Second-1), charge("early", ratelimit.PerHour(1)))
		require.ErrorIs(t, err, ratelimit.ErrFull, "a nanosecond is missing")
		_, err = m.TakeAt(epoch.Add(time.Second), charge("new", ratelimit.PerHour(1)))
		require.NoError(t, err, "in place %d", place)
		require.Equal(t, ratelimit.MemoryStats{Keys: 8, Refused: 1}, m.Stats())
	}
}

func TestLargestTable(t *testing.T) {
	t.Parallel()
	const most = 1 << 30
	require.Panics(t, func() { ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: most + 1}) })
	require.NotPanics(t, func() { ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: most}) })

	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1 << 18}) // more parts would not fit a word
	into := make([]ratelimit.Decision, 2)
	for i := range 200 {
		charges := []ratelimit.Charge{charge("a"+strconv.Itoa(i), ratelimit.PerHour(1)), charge("b"+strconv.Itoa(i), ratelimit.PerHour(1))}
		for hours := range 3 {
			require.NoError(t, m.TakeAllAt(epoch.Add(time.Duration(3*i+hours)*time.Hour), charges, into))
			require.True(t, into[0].Allowed && into[1].Allowed, "%d, after %d hours", i, hours)
		}
	}
}

func TestManyCallersOfASmallTable(t *testing.T) {
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

// TestACallKeepsWhatItHasCharged has rules of keys that are all new, in tables that have no room to
// spare: each call needs the room that it took itself a moment ago. Every rule must still count.
func TestACallKeepsWhatItHasCharged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ maxKeys, rules int }{{1, 1}, {2, 2}, {3, 3}, {4, 3}, {12, 12}, {20, 12}} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: row.maxKeys})
		for call := range 100 {
			charges := make([]ratelimit.Charge, row.rules)
			for k := range charges { // the fullest first, which are the first to go
				charges[k] = ratelimit.Charge{Rule: strconv.Itoa(k), Key: strconv.Itoa(call), Limit: ratelimit.PerHour(1000 - 80*k), Cost: 1}
			}
			into := make([]ratelimit.Decision, row.rules)
			require.NoError(t, m.TakeAllAt(epoch.Add(time.Duration(call)*time.Millisecond), charges, into))
			for k, d := range into {
				require.True(t, d.Allowed)
				require.Equal(t, 999-80*k, d.Remaining, "rule %d of %+v", k, row)
			}
		}
		require.LessOrEqual(t, m.Stats().Keys, row.maxKeys)
	}
}

// A call that needs more buckets than the table holds is refused as one of a new key is, and charges
// nothing.
func TestACallLargerThanTheTableIsRefused(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2})
	charges := []ratelimit.Charge{charge("a", ratelimit.PerHour(5)), charge("b", ratelimit.PerHour(5)), charge("c", ratelimit.PerHour(5))}
	into := make([]ratelimit.Decision, 3)
	require.ErrorIs(t, m.TakeAllAt(epoch, charges, into), ratelimit.ErrFull)
	require.NoError(t, m.TakeAllAt(epoch, charges[:2], into[:2]))
	require.Equal(t, 4, into[0].Remaining)
	require.Equal(t, 4, into[1].Remaining)
	require.EqualValues(t, 1, m.Stats().Refused)
}

// In tables of a usual size, too, a call may look at its own bucket when it needs room.
func TestACallInAFullTableKeepsWhatItHasCharged(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 12})
	into := make([]ratelimit.Decision, 2)
	for i := range 2000 {
		charges := []ratelimit.Charge{
			{Rule: "address", Key: strconv.Itoa(i), Limit: ratelimit.PerSecond(1000), Cost: 1}, // full again in a millisecond
			{Rule: "key", Key: strconv.Itoa(i), Limit: ratelimit.PerHour(5), Cost: 1},
		}
		require.NoError(t, m.TakeAllAt(epoch, charges, into))
		require.Equal(t, 999, into[0].Remaining)
		require.Equal(t, 4, into[1].Remaining)
	}
}

// TestEverySlotIsLookedAtInTurn shows that half as many new keys as there are old ones, all full,
// make room for all of them.
// A bucket that is full by a small limit is kept until it would be full by the large one, and no
// longer.
func TestBucketIsKeptUntilItIsFullByTheLimitBefore(t *testing.T) {
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

// While there is room, a bucket stays for a minute after it is full. At the cap, two go at a time.
func TestFullBucketsGoEarlyAtTheCapAlone(t *testing.T) {
	t.Parallel()
	for keys, left := range map[int][]int{100: {99, 100, 99, 100}, 101: {101, 100, 101, 100}, 200: {101, 102, 103, 104}} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: keys})
		for i := range 100 {
			_, err := m.TakeAt(epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1)))
			require.NoError(t, err)
		}
		for i, want := range left {
			_, err := m.TakeAt(epoch.Add(time.Hour), charge("new "+strconv.Itoa(i), ratelimit.PerHour(1)))
			require.NoError(t, err)
			require.Equal(t, ratelimit.MemoryStats{Keys: want}, m.Stats(), "%d of %d", i, keys)
		}
	}
}

func TestEverySlotIsLookedAtInTurn(t *testing.T) {
	t.Parallel()
	for _, keys := range []int{2, 68, 136, 200} { // blocks of entries are full at 68
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: keys})
		for i := range keys {
			_, err := m.TakeAt(epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1)))
			require.NoError(t, err)
		}
		for i := range keys / 2 {
			_, err := m.TakeAt(epoch.Add(2*time.Hour), charge(strconv.Itoa(-1-i), ratelimit.PerHour(1)))
			require.NoError(t, err)
		}
		require.Equal(t, ratelimit.MemoryStats{Keys: keys / 2}, m.Stats())
	}
}
