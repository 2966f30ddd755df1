package ratelimit_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestNewKeyWhenFull(t *testing.T) {
	t.Parallel()
	limit := ratelimit.PerHour(3)
	type method struct {
		name string
		take func(m *ratelimit.Memory, now time.Time, key string) (ratelimit.Decision, error)
	}
	for _, way := range []method{
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

func TestMemoryHoldsExactlyMaxKeys(t *testing.T) {
	t.Parallel()
	for _, maxKeys := range []int{1, 2, 1023, 2049, 10_007, 33_333} { // most are not a multiple of the number of shards
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: maxKeys})
		for i := range 2*maxKeys + 1000 {
			if _, err := m.TakeAt(epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1))); err != nil {
				t.Fatal(err)
			}
		}
		require.Equal(t, maxKeys, m.Stats().Keys)
	}
}

func TestEvictionsAreCounted(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 10})
	for i := range 25 {
		takeAt(t, m, epoch, charge(strconv.Itoa(i), ratelimit.PerHour(1)))
	}
	require.Equal(t, ratelimit.MemoryStats{Keys: 10, Evicted: 15}, m.Stats())

	later := epoch.Add(time.Hour) // all of them are full
	for i := range 25 {
		takeAt(t, m, later.Add(time.Duration(i)*time.Hour), charge("later "+strconv.Itoa(i), ratelimit.PerHour(1)))
	}
	require.EqualValues(t, 15, m.Stats().Evicted)
}

func TestFloodOfNewKeysDoesNotEvictADrainedBucket(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		flood  ratelimit.Limit
		refuse bool
	}{
		"same limit":   {ratelimit.PerHour(5), false},
		"faster limit": {ratelimit.PerSecond(100), false},
		"wider limit":  {ratelimit.PerHour(1000), false},
		"refused":      {ratelimit.PerHour(1), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const maxKeys = 1 << 14
			m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: maxKeys, RefuseWhenFull: row.refuse})
			drained := charge("attacker", ratelimit.PerHour(5))
			now := epoch
			for i := range 6 {
				d := takeAt(t, m, now, drained)
				require.Equal(t, i < 5, d.Allowed)
			}
			for i := range 3 * maxKeys {
				now = now.Add(time.Microsecond)
				if _, err := m.TakeAt(now, charge(strconv.Itoa(i), row.flood)); err != nil {
					require.ErrorIs(t, err, ratelimit.ErrFull)
				}
			}
			d := takeAt(t, m, now, drained)
			require.False(t, d.Allowed)
			require.LessOrEqual(t, m.Stats().Keys, maxKeys)
		})
	}
}

func TestFullBucketMakesRoomInEverySlot(t *testing.T) {
	t.Parallel()
	for place := range 8 {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 8, RefuseWhenFull: true})
		for i := range 8 {
			limit := ratelimit.PerHour(1)
			if i == place {
				limit = ratelimit.PerSecond(1)
			}
			takeAt(t, m, epoch, charge(strconv.Itoa(i), limit))
		}
		_, err := m.TakeAt(epoch.Add(time.Second-1), charge("early", ratelimit.PerHour(1)))
		require.ErrorIs(t, err, ratelimit.ErrFull, "a nanosecond is missing")
		_, err = m.TakeAt(epoch.Add(time.Second), charge("new", ratelimit.PerHour(1)))
		require.NoError(t, err, "in place %d", place)
		require.Equal(t, ratelimit.MemoryStats{Keys: 8, Refused: 1}, m.Stats())
	}
}

func TestTakeAllWithoutRoomChargesNothing(t *testing.T) {
	t.Parallel()
	limit := ratelimit.PerHour(3)
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2, RefuseWhenFull: true})
	takeAt(t, m, epoch, charge("known", limit))
	err := m.TakeAllAt(epoch, []ratelimit.Charge{
		charge("known", limit), charge("new", limit), {Rule: "q", Key: "k", Limit: limit, Cost: 1},
	}, make([]ratelimit.Decision, 3))
	require.ErrorIs(t, err, ratelimit.ErrFull)
	for key, want := range map[string]int{"known": 2, "new": 3} {
		c := charge(key, limit)
		c.Cost = 0
		d := takeAt(t, m, epoch, c)
		require.Equal(t, want, d.Remaining)
	}
}

// The table has no room to spare: each call needs the slots that it has just filled.
func TestTakeAllDoesNotEvictItsOwnBuckets(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ maxKeys, rules int }{{1, 1}, {2, 2}, {3, 3}, {4, 3}, {12, 12}, {20, 12}} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: row.maxKeys})
		for call := range 100 {
			charges := make([]ratelimit.Charge, row.rules)
			for k := range charges { // the fullest first, which would be evicted first
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

func TestTakeAllOfMoreThanMaxKeysIsRefused(t *testing.T) {
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

func TestTakeAllDoesNotEvictItsFullestBucket(t *testing.T) {
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

// The bucket is nearly full by its own limit, and nearly empty by its earlier one.
func TestBucketOfAnEarlierLimitIsNotTheFullest(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 2})
	large, small := ratelimit.PerHour(100), ratelimit.PerSecond(2)
	drained := charge("drained", large)
	drained.Cost = 100
	takeAt(t, m, epoch, drained)
	now := epoch.Add(time.Minute)
	takeAt(t, m, now, charge("drained", small))
	takeAt(t, m, now, charge("other", ratelimit.PerMinute(1)))

	takeAt(t, m, now, charge("new", small))

	require.EqualValues(t, 1, m.Stats().Evicted)
	require.False(t, takeAt(t, m, now, drained).Allowed)
}
