package ratelimit_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// Random requests are charged an estimate, and settled later in any order. What was
// charged is always what was settled and the estimates in flight, and never more than
// burst + rate·W and the refunds.
func TestSettledCostsAgreeWithAReference(t *testing.T) {
	t.Parallel()
	type flight struct{ estimate, cost int }
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		limit := ratelimit.Limit{Quota: 1 + rnd.IntN(1000), Window: time.Duration(1+rnd.IntN(120)) * time.Second, Burst: 1 + rnd.IntN(2000)}
		m, ref, now := ratelimit.NewMemory(nil), newReference(limit), epoch
		c := charge("k", limit)
		var flights []flight
		charged, settled := 0, 0 // units
		for range 400 {
			step := time.Duration(rnd.Int64N(int64(limit.Window/8 + 1)))
			now = now.Add(step)
			ref.advance(step)

			if len(flights) == 0 || rnd.IntN(2) == 0 {
				c.Cost = 1 + rnd.IntN(limit.Burst)
				d := takeAt(t, m, now, c)
				ref.checkAllowed(t, c.Cost, d.Allowed)
				if d.Allowed {
					ref.take(c.Cost)
					charged += c.Cost
					flights = append(flights, flight{c.Cost, rnd.IntN(2 * limit.Burst)})
				}
			} else {
				i := rnd.IntN(len(flights))
				f := flights[i]
				flights = slices.Delete(flights, i, i+1)
				takeAt(t, m, now, ratelimit.Charge{Rule: c.Rule, Key: c.Key, Limit: limit}) // moves the clock to now
				late := now.Add(-time.Duration(rnd.IntN(2)) * time.Second)                  // and an older time does not move it back
				c.Cost = f.cost - f.estimate
				require.NoError(t, m.AdjustAt(late, c))
				ref.take(c.Cost)
				charged += c.Cost
				settled += f.cost
			}

			ref.check(t, takeAt(t, m, now, ratelimit.Charge{Rule: c.Rule, Key: c.Key, Limit: limit}))
			inFlight := 0
			for _, f := range flights {
				inFlight += f.estimate
			}
			require.Equal(t, charged, settled+inFlight)
			require.InDelta(t, float64(charged), ref.taken(now.Sub(epoch)), 1e-6)
		}
		require.Positive(t, charged)
	}
}

// reference is a token bucket in rational numbers.
type reference struct {
	limit  ratelimit.Limit
	tokens *big.Rat
	lost   *big.Rat // tokens that came back to a full bucket
}

func newReference(l ratelimit.Limit) *reference {
	return &reference{limit: l, tokens: big.NewRat(int64(l.Burst), 1), lost: new(big.Rat)}
}

// back returns the tokens that come back in d.
func (r *reference) back(d time.Duration) *big.Rat {
	back := new(big.Rat).SetFrac64(int64(d), int64(r.limit.Window))
	return back.Mul(back, big.NewRat(int64(r.limit.Quota), 1))
}

func (r *reference) advance(d time.Duration) {
	r.tokens.Add(r.tokens, r.back(d))
	r.take(0)
}

// take takes n tokens, or gives them back if n is negative.
func (r *reference) take(n int) {
	r.tokens.Sub(r.tokens, big.NewRat(int64(n), 1))
	if burst := big.NewRat(int64(r.limit.Burst), 1); r.tokens.Cmp(burst) > 0 {
		r.lost.Add(r.lost, new(big.Rat).Sub(r.tokens, burst))
		r.tokens.Set(burst)
	}
}

// taken returns the tokens that were taken since the bucket was new, d ago.
func (r *reference) taken(d time.Duration) float64 {
	in := r.back(d)
	in.Add(in, big.NewRat(int64(r.limit.Burst), 1)).Sub(in, r.lost).Sub(in, r.tokens)
	taken, _ := in.Float64()
	return taken
}

// checkAllowed checks whether a charge was allowed, unless that depends on rounding.
func (r *reference) checkAllowed(t *testing.T, cost int, allowed bool) {
	t.Helper()
	spare, _ := new(big.Rat).Sub(r.tokens, big.NewRat(int64(cost), 1)).Float64()
	if math.Abs(spare) > 1e-6 {
		require.Equal(t, spare > 0, allowed, "a cost of %d leaves %v", cost, spare)
	}
}

// check compares the bucket with a decision about it.
func (r *reference) check(t *testing.T, d ratelimit.Decision) {
	t.Helper()
	tokens, _ := r.tokens.Float64()
	require.InDelta(t, max(tokens, 0), d.Remaining, 1+1e-6, "%+v", d)
	untilFull := (float64(r.limit.Burst) - tokens) * float64(r.limit.Window) / float64(r.limit.Quota)
	require.InDelta(t, untilFull, float64(d.ResetAfter), 2e3, "%+v", d)
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
		d := takeAt(t, m, now, c)
		if d.Allowed {
			admitted += c.Cost
			extra := rnd.IntN(3)
			c.Cost = extra
			require.NoError(t, m.AdjustAt(now, c))
			admitted += extra
		}
		require.LessOrEqual(t, float64(admitted), 50+2+10*now.Sub(epoch).Seconds()+1e-6) // the last request may have taken 2 more
	}
}

func TestAdjust(t *testing.T) {
	t.Parallel()
	const s = time.Second
	limit := ratelimit.Limit{Quota: 60, Window: time.Minute, Burst: 10}
	type step struct { // first an adjustment, then a charge
		after     time.Duration
		adjust    int
		take      int
		denied    bool
		remaining int
		retry     time.Duration
		reset     time.Duration
	}
	for name, steps := range map[string][]step{
		"gives back": {
			{take: 5, remaining: 5, reset: 5 * s},
			{adjust: -3, remaining: 8, reset: 2 * s},
		},
		"never gives back above the burst": {
			{take: 5, remaining: 5, reset: 5 * s},
			{adjust: -1e9, remaining: 10},
			{after: 1000 * time.Hour, remaining: 10},
		},
		"gives nothing to a full bucket": {
			{adjust: -5, remaining: 10},
			{take: 10, reset: 10 * s},
			{take: 1, denied: true, retry: s, reset: 10 * s},
		},
		"takes": {
			{take: 5, remaining: 5, reset: 5 * s},
			{adjust: 2, remaining: 3, reset: 7 * s},
		},
		"takes from a new bucket": {
			{adjust: 4, remaining: 6, reset: 4 * s},
		},
		"takes more than the burst": {
			{adjust: 25, reset: 25 * s},
			{take: 1, denied: true, retry: 16 * s, reset: 25 * s},
		},
		"takes into debt": {
			{take: 10, reset: 10 * s},
			{adjust: 7, reset: 17 * s},
			{take: 1, denied: true, retry: 8 * s, reset: 17 * s},
			{after: 7 * s, take: 1, denied: true, retry: s, reset: 10 * s},
			{after: s, take: 1, reset: 10 * s},
		},
		"gives back in debt": {
			{adjust: 30, reset: 30 * s},
			{adjust: -5, reset: 25 * s},
			{adjust: -16, remaining: 1, reset: 9 * s},
		},
		"by 0 changes nothing": {
			{take: 4, remaining: 6, reset: 4 * s},
			{adjust: 0, remaining: 6, reset: 4 * s},
		},
		"keeps a large debt until it is paid": {
			{adjust: 1e9, reset: 1e9 * s},
			{after: 1000 * time.Hour, take: 1, denied: true, retry: 996_399_991 * s, reset: 996_400_000 * s},
		},
		"keeps fractions": {
			{take: 10, reset: 10 * s},
			{after: 500 * time.Millisecond, adjust: -1, remaining: 1, reset: 8500 * time.Millisecond},
		},
	} {
		m, now := ratelimit.NewMemory(nil), epoch
		for i, step := range steps {
			now = now.Add(step.after)
			c := charge("k", limit)
			c.Cost = step.adjust
			require.NoError(t, m.AdjustAt(now, c))
			c.Cost = step.take
			d := takeAt(t, m, now, c)
			require.Equal(t, step.denied, !d.Allowed, "%s: step %d", name, i+1)
			require.Equal(t, step.remaining, d.Remaining, "%s: step %d", name, i+1)
			require.Equal(t, step.retry, d.RetryAfter, "%s: step %d", name, i+1)
			require.Equal(t, step.reset, d.ResetAfter, "%s: step %d", name, i+1)
		}
	}
}

func TestInvalidAdjustments(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
	good := charge("k", ratelimit.PerHour(10))
	for name, change := range map[string]func(*ratelimit.Charge){
		"too much":      func(c *ratelimit.Charge) { c.Cost = 1e9 + 1 },
		"too much back": func(c *ratelimit.Charge) { c.Cost = -1e9 - 1 },
		"math.MinInt":   func(c *ratelimit.Charge) { c.Cost = math.MinInt },
		"no limit":      func(c *ratelimit.Charge) { c.Limit = ratelimit.Limit{} },
		"unlimited":     func(c *ratelimit.Charge) { c.Limit = ratelimit.Unlimited() },
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
		require.Zero(t, m.Stats().Keys, "a full bucket is not kept")
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
	d := takeAt(t, m, epoch, c)
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
	takeAt(t, m, epoch, old)
	d := takeAt(t, m, epoch, now)
	require.Equal(t, 4, d.Remaining)
	old.Cost = -4
	require.NoError(t, m.AdjustAt(epoch, old))
	now.Cost = 0
	d = takeAt(t, m, epoch.Add(30*time.Second), now)
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
	debtor.Limit, debtor.Cost = ratelimit.PerHour(1), 1 // now its debt takes 10^8 years
	now := epoch.Add(time.Second)
	for i := range 20 {
		d := takeAt(t, m, now, debtor)
		require.False(t, d.Allowed)
		require.InDelta(t, 100*365*24*time.Hour, d.RetryAfter, float64(time.Second))
		require.Equal(t, 100*365*24*time.Hour, d.ResetAfter)
		for k := range 500 {
			takeAt(t, m, now, charge(strconv.Itoa(1000*i+k), ratelimit.PerHour(1)))
		}
		now = now.Add(time.Hour)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	for _, maxKeys := range []int{1, 3, 5000} {
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: maxKeys})
		take := func(rule, key string) bool {
			d := takeAt(t, m, epoch, ratelimit.Charge{Rule: rule, Key: key, Limit: ratelimit.PerHour(1), Cost: 1})
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
		d := takeAt(t, m, epoch, charge(key, ratelimit.PerHour(1)))
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
