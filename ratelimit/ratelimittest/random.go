package ratelimittest

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// rational is a token bucket in rational numbers.
type rational struct {
	limit  ratelimit.Limit
	tokens *big.Rat
}

func newRational(l ratelimit.Limit) *rational {
	b := &rational{limit: l}
	b.tokens = rat(b.burst())
	return b
}

func rat(n int) *big.Rat { return new(big.Rat).SetInt64(int64(n)) }

func (b *rational) burst() int {
	if b.limit.Burst == 0 {
		return b.limit.Quota
	}
	return b.limit.Burst
}

// hold cuts off what is over the burst.
func (b *rational) hold() {
	if burst := rat(b.burst()); b.tokens.Cmp(burst) > 0 {
		b.tokens = burst
	}
}

func (b *rational) advance(d time.Duration) {
	back := new(big.Rat).SetFrac64(int64(d), int64(b.limit.Window))
	b.tokens.Add(b.tokens, back.Mul(back, rat(b.limit.Quota)))
	b.hold()
}

// over is what the bucket would hold after a charge, and in how much time that much comes back.
func (b *rational) over(cost int) (float64, time.Duration) {
	left, _ := new(big.Rat).Sub(b.tokens, rat(cost)).Float64()
	return left, time.Duration(left * float64(b.limit.Window) / float64(b.limit.Quota))
}

// check compares what a limiter says with what it should, but for a millisecond more or less: small
// errors may add up.
func (b *rational) check(t *testing.T, c ratelimit.Charge, d ratelimit.Decision, charged bool) {
	t.Helper()
	_, ahead := b.over(c.Cost)
	if want := c.Cost <= b.burst() && ahead >= 0 || c.Cost == 0; d.Allowed != want && ahead.Abs() > time.Millisecond {
		t.Fatalf("allowed is %v, with %v of time to spare\ncharge   %+v\ndecision %+v", d.Allowed, ahead, c, d)
	}
	if charged {
		b.tokens.Sub(b.tokens, rat(c.Cost))
	}
	hair := float64(time.Millisecond) * float64(b.limit.Quota) / float64(b.limit.Window)
	left, _ := b.over(0)
	if left = max(left, 0); float64(d.Remaining) > left+hair || float64(d.Remaining) <= left-hair-1 {
		t.Fatalf("%d remain of %v\ncharge   %+v\ndecision %+v", d.Remaining, left, c, d)
	}
}

// several charges random sets of buckets random costs, changes a limit now and then, and compares
// each decision with what it should be.
func several(t *testing.T, l ratelimit.MultiLimiter, advance func(time.Duration)) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 20 {
		buckets := [4]*rational{}
		charge := func(k int) ratelimit.Charge {
			return ratelimit.Charge{Rule: "several", Key: string(rune('a'+i)) + string(rune('0'+k)), Limit: buckets[k].limit, Cost: 1}
		}
		for k := range buckets {
			buckets[k] = newRational(randomLimit(rnd))
		}
		for range 60 {
			step := time.Duration(rnd.Int64N(int64(2 * time.Second))).Truncate(time.Microsecond)
			advance(step)
			for _, b := range buckets {
				b.advance(step)
			}
			if k := rnd.IntN(20); k < len(buckets) && buckets[k].tokens.Cmp(rat(buckets[k].burst())) < 0 { // a full one may be forgotten
				b := buckets[k]
				b.limit = randomLimit(rnd)
				b.hold()
				d := take(t, l, charge(k))
				b.check(t, charge(k), d, d.Allowed)
			}
			var charges []ratelimit.Charge
			chosen := rnd.Perm(len(buckets))[:1+rnd.IntN(len(buckets))]
			for _, k := range chosen {
				c := charge(k)
				c.Cost = rnd.IntN(max(buckets[k].burst()/3, 3))
				charges = append(charges, c)
			}
			into, all := takeAll(t, l, charges...)
			for j, k := range chosen {
				buckets[k].check(t, charges[j], into[j], all)
			}
		}
	}
}
