package ratelimit_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// TestSettledCostsAgreeWithAReference runs random requests that are charged an estimate, and
// settled some time later, in any order. The reference is in rational numbers. Between two
// instants, the estimates that are admitted never exceed what the burst, the rate and the refunds
// allow; and what the bucket has lost in the end differs from the real costs by what is in flight,
// exactly.
func TestSettledCostsAgreeWithAReference(t *testing.T) {
	t.Parallel()
	type flight struct{ estimate, real int }
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		limit := ratelimit.Limit{Quota: 1 + rnd.IntN(1000), Window: time.Duration(1+rnd.IntN(120)) * time.Second, Burst: 1 + rnd.IntN(2000)}
		m := ratelimit.NewMemory(nil)
		now := epoch
		c := ratelimit.Charge{Rule: "tokens", Key: "k", Limit: limit}
		burst := big.NewRat(int64(limit.Burst), 1)
		tokens := new(big.Rat).Set(burst)
		var inFlight []flight
		admitted, charged, settled := 0, 0, 0 // units: of the estimates; of all that was charged; what the settled requests really cost
		lost := new(big.Rat)                  // what came back to a full bucket
		start := now
		for range 400 {
			step := time.Duration(rnd.Int64N(int64(limit.Window/8 + 1)))
			now = now.Add(step)
			back := new(big.Rat).SetFrac64(int64(step), int64(limit.Window))
			tokens.Add(tokens, back.Mul(back, big.NewRat(int64(limit.Quota), 1)))
			over := func() {
				if tokens.Cmp(burst) > 0 {
					lost.Add(lost, new(big.Rat).Sub(tokens, burst))
					tokens.Set(burst)
				}
			}
			over()
			if rnd.IntN(2) == 0 || len(inFlight) == 0 {
				c.Cost = 1 + rnd.IntN(limit.Burst)
				d, err := m.TakeAt(now, c)
				require.NoError(t, err)
				left := new(big.Rat).Sub(tokens, big.NewRat(int64(c.Cost), 1))
				if spare, _ := left.Float64(); math.Abs(spare) > 1e-6 {
					require.Equal(t, spare > 0, d.Allowed, "%v spare for %+v", spare, c)
				}
				if d.Allowed {
					tokens.Set(left)
					admitted += c.Cost
					charged += c.Cost
					inFlight = append(inFlight, flight{c.Cost, rnd.IntN(2 * limit.Burst)})
				}
			} else {
				i := rnd.IntN(len(inFlight))
				f := inFlight[i]
				inFlight = append(inFlight[:i], inFlight[i+1:]...)
				c.Cost = 0
				_, err := m.TakeAt(now, c)
				require.NoError(t, err)
				c.Cost = f.real - f.estimate
				require.NoError(t, m.AdjustAt(now.Add(-time.Duration(rnd.IntN(2))*time.Second), c)) // a late clock rewinds nothing
				charged += c.Cost
				settled += f.real
				tokens.Sub(tokens, big.NewRat(int64(c.Cost), 1))
				over()
			}
			peek := c
			peek.Cost = 0
			d, err := m.TakeAt(now, peek)
			require.NoError(t, err)
			want, _ := tokens.Float64()
			require.InDelta(t, max(want, 0), d.Remaining, 1+1e-6, "%+v", d)
			wait := (want - float64(limit.Burst)) * -1 * float64(limit.Window) / float64(limit.Quota)
			require.InDelta(t, wait, float64(d.ResetAfter), 2e3, "%+v", d)

			flying := 0
			for _, f := range inFlight {
				flying += f.estimate
			}
			require.Equal(t, charged, settled+flying, "what was charged is what was settled and what is in flight")
			// burst + rate·W, plus what was given back, is all that could be charged; debts make it
			// less.
			in := new(big.Rat).SetFrac64(int64(now.Sub(start)), int64(limit.Window))
			in.Mul(in, big.NewRat(int64(limit.Quota), 1)).Add(in, burst).Sub(in, lost).Sub(in, tokens)
			got, _ := in.Float64()
			require.InDelta(t, float64(charged), got, 1e-6)
		}
		require.Positive(t, admitted)
	}
}

// Without refunds, the admitted estimates in any span of time are at most burst + rate·W.
func TestAdjustmentsAdmitNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 3))
	m := ratelimit.NewMemory(nil)
	limit := ratelimit.Limit{Quota: 10, Window: time.Second, Burst: 50}
	now, admitted := epoch, 0
	for range 3000 {
		now = now.Add(time.Duration(rnd.IntN(100)) * time.Millisecond)
		c := ratelimit.Charge{Rule: "p", Key: "k", Limit: limit, Cost: 1 + rnd.IntN(5)}
		d, err := m.TakeAt(now, c)
		require.NoError(t, err)
		if d.Allowed {
			admitted += c.Cost
			extra := rnd.IntN(3)
			c.Cost = extra
			require.NoError(t, m.AdjustAt(now, c))
			admitted += extra
		}
		require.LessOrEqual(t, float64(admitted), 50+2+10*now.Sub(epoch).Seconds()+1e-6) // one request may have taken 2 too many
	}
}

func TestAdjust(t *testing.T) {
	t.Parallel()
	const far = 1000 * time.Hour
	limit := ratelimit.Limit{Quota: 60, Window: time.Minute, Burst: 10}
	type step struct {
		after     time.Duration
		adjust    int
		take      int
		denied    bool
		remaining int
		retry     time.Duration
		reset     time.Duration
	}
	for name, steps := range map[string][]step{
		"gives back":                    {{take: 5, remaining: 5, reset: 5 * time.Second}, {adjust: -3, remaining: 8, reset: 2 * time.Second}},
		"never above the burst":         {{take: 5, remaining: 5, reset: 5 * time.Second}, {adjust: -1e9, remaining: 10}, {after: far, remaining: 10}},
		"gives nothing to a full one":   {{adjust: -5, remaining: 10}, {take: 10, reset: 10 * time.Second}, {take: 1, denied: true, retry: time.Second, reset: 10 * time.Second}},
		"takes":                         {{take: 5, remaining: 5, reset: 5 * time.Second}, {adjust: 2, remaining: 3, reset: 7 * time.Second}},
		"takes from a new one":          {{adjust: 4, remaining: 6, reset: 4 * time.Second}},
		"takes more than a burst":       {{adjust: 25, reset: 25 * time.Second}, {take: 1, denied: true, retry: 16 * time.Second, reset: 25 * time.Second}},
		"into debt":                     {{take: 10, reset: 10 * time.Second}, {adjust: 7, reset: 17 * time.Second}, {take: 1, denied: true, retry: 8 * time.Second, reset: 17 * time.Second}, {after: 7 * time.Second, take: 1, denied: true, retry: time.Second, reset: 10 * time.Second}, {after: time.Second, take: 1, reset: 10 * time.Second}},
		"gives back in debt":            {{adjust: 30, reset: 30 * time.Second}, {adjust: -5, reset: 25 * time.Second}, {adjust: -16, remaining: 1, reset: 9 * time.Second}},
		"nothing changes nothing":       {{take: 4, remaining: 6, reset: 4 * time.Second}, {adjust: 0, remaining: 6, reset: 4 * time.Second}},
		"a debt is a debt until paid":   {{adjust: 1e9}, {after: far, take: 1, denied: true, retry: 996_399_991 * time.Second}},
		"fractions are not rounded off": {{take: 10, reset: 10 * time.Second}, {after: 500 * time.Millisecond, adjust: -1, remaining: 1, reset: 8500 * time.Millisecond}},
	} {
		m := ratelimit.NewMemory(nil)
		now := epoch
		for i, s := range steps {
			now = now.Add(s.after)
			c := ratelimit.Charge{Rule: "p", Key: "k", Limit: limit, Cost: s.adjust}
			require.NoError(t, m.AdjustAt(now, c))
			c.Cost = s.take
			d, err := m.TakeAt(now, c)
			require.NoError(t, err)
			require.Equal(t, s.denied, !d.Allowed, "%s: step %d", name, i+1)
			require.Equal(t, s.remaining, d.Remaining, "%s: step %d", name, i+1)
			require.Equal(t, s.retry, d.RetryAfter, "%s: step %d", name, i+1)
			if s.adjust < 1e9 && s.after < far {
				require.Equal(t, s.reset, d.ResetAfter, "%s: step %d", name, i+1)
			}
		}
	}
}

func TestInvalidAdjustments(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
	good := charge("k", ratelimit.PerHour(10))
	for name, change := range map[string]func(*ratelimit.Charge){
		"too much":          func(c *ratelimit.Charge) { c.Cost = 1e9 + 1 },
		"too much back":     func(c *ratelimit.Charge) { c.Cost = -1e9 - 1 },
		"the least integer": func(c *ratelimit.Charge) { c.Cost = math.MinInt },
		"no limit":          func(c *ratelimit.Charge) { c.Limit = ratelimit.Limit{} },
		"unlimited":         func(c *ratelimit.Charge) { c.Limit = ratelimit.Unlimited() },
	} {
		c := good
		change(&c)
		require.Error(t, m.AdjustAt(epoch, c), name)
	}
	require.Zero(t, m.Stats().Keys)
	for _, cost := range []int{-1e9, 0} {
		c := good
		c.Cost = cost
		require.NoError(t, m.AdjustAt(epoch, c))
		require.Zero(t, m.Stats().Keys, "a bucket that is full is not kept")
	}
	require.NoError(t, m.AdjustAt(epoch, good))
	require.ErrorIs(t, m.AdjustAt(epoch, charge("other", ratelimit.PerHour(10))), ratelimit.ErrFull)
}

// A debt may take longer than a time.Duration can hold.
func TestLargestDebtTakesAHundredYears(t *testing.T) {
	t.Parallel()
	const century = 100 * 365 * 24 * time.Hour
	m := ratelimit.NewMemory(nil)
	c := charge("k", ratelimit.PerHour(1))
	c.Cost = 1e9
	require.NoError(t, m.AdjustAt(epoch, c))
	c.Cost = 1
	d, err := m.TakeAt(epoch, c)
	require.NoError(t, err)
	require.GreaterOrEqual(t, d.RetryAfter, century)
	require.LessOrEqual(t, d.RetryAfter, century+time.Second)
	d.RetryAfter = 0
	require.Equal(t, ratelimit.Decision{Limit: c.Limit, RefillAfter: century, ResetAfter: century}, d)
}

// The charge of an earlier request has an earlier plan.
func TestAdjustKeepsTheLimitOfTheBucket(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	old, now := charge("k", ratelimit.PerHour(10)), charge("k", ratelimit.PerMinute(60))
	old.Cost = 5
	_, err := m.TakeAt(epoch, old)
	require.NoError(t, err)
	d, err := m.TakeAt(epoch, now)
	require.NoError(t, err)
	require.Equal(t, 4, d.Remaining)
	old.Cost = -4
	require.NoError(t, m.AdjustAt(epoch, old))
	now.Cost = 0
	d, err = m.TakeAt(epoch.Add(30*time.Second), now)
	require.NoError(t, err)
	require.Equal(t, 38, d.Remaining, "a unit a second, up to 60")
}

func TestDebtsAreNotEvicted(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 100})
	debtor := charge("debtor", ratelimit.PerSecond(1e9))
	for range 1000 {
		debtor.Cost = 1e9
		require.NoError(t, m.AdjustAt(epoch, debtor))
	}
	debtor.Limit, debtor.Cost = ratelimit.PerHour(1), 1 // from then on, its debt takes 10^8 years
	now := epoch.Add(time.Second)
	for i := range 20 {
		d, err := m.TakeAt(now, debtor)
		require.NoError(t, err)
		require.False(t, d.Allowed)
		require.InDelta(t, 100*365*24*time.Hour, d.RetryAfter, float64(time.Second))
		require.Equal(t, 100*365*24*time.Hour, d.ResetAfter)
		for k := range 500 {
			_, err := m.TakeAt(now, charge(strconv.Itoa(1000*i+k), ratelimit.PerHour(1)))
			require.NoError(t, err)
		}
		now = now.Add(time.Hour)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	for _, maxKeys := range []int{1, 3, 5000} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: maxKeys})
		take := func(rule, key string) bool {
			d, err := m.TakeAt(epoch, ratelimit.Charge{Rule: rule, Key: key, Limit: ratelimit.PerHour(1), Cost: 1})
			require.NoError(t, err)
			return d.Allowed
		}
		require.NoError(t, m.Reset(t.Context(), "a", "unknown"))
		require.True(t, take("a", "k"))
		require.False(t, take("a", "k"))
		require.NoError(t, m.Reset(t.Context(), "b", "k"))
		require.NoError(t, m.Reset(t.Context(), "a", "l"))
		require.False(t, take("a", "k"))
		require.NoError(t, m.Reset(t.Context(), "a", "k"))
		require.Zero(t, m.Stats().Keys)
		require.NoError(t, m.Reset(t.Context(), "a", "k"))
		require.True(t, take("a", "k"))
		require.False(t, take("a", "k"))
		require.Equal(t, ratelimit.MemoryStats{Keys: 1}, m.Stats())
	}
}

func TestResetFreesTheSlot(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 3})
	take := func(key string) bool {
		d, err := m.TakeAt(epoch, charge(key, ratelimit.PerHour(1)))
		require.NoError(t, err)
		return d.Allowed
	}
	require.True(t, take("a") && take("b"))
	for _, key := range []string{"a", "b"} {
		require.NoError(t, m.Reset(t.Context(), "p", key))
	}
	require.True(t, take("a"))
	require.False(t, take("a"))
	require.NoError(t, m.Reset(t.Context(), "p", "a"))
	require.Zero(t, m.Stats().Keys)
	require.True(t, take("a") && take("b") && take("c"))
	require.False(t, take("a") || take("b") || take("c"))
}
