package ratelimittest

import (
	"math/big"
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

func (b *rational) burst() int { return burstOf(b.limit) }

// hold drops the tokens over the burst.
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

// over returns the number of tokens that are left after a charge, and the time in which
// that number comes back. Both may be negative.
func (b *rational) over(cost int) (float64, time.Duration) {
	left, _ := new(big.Rat).Sub(b.tokens, rat(cost)).Float64()
	return left, time.Duration(left * float64(b.limit.Window) / float64(b.limit.Quota))
}

// check compares a decision with the bucket, with a tolerance of a millisecond, since
// small errors may add up.
func (b *rational) check(t *testing.T, c ratelimit.Charge, d ratelimit.Decision, charged bool) {
	t.Helper()
	_, ahead := b.over(c.Cost)
	if want := c.Cost <= b.burst() && ahead >= 0 || c.Cost == 0; d.Allowed != want && ahead.Abs() > time.Millisecond {
		t.Fatalf("Allowed is %v, %v after the bucket has enough units\ncharge   %+v\ndecision %+v", d.Allowed, ahead, c, d)
	}
	if charged {
		b.tokens.Sub(b.tokens, rat(c.Cost))
	}
	tolerance := float64(time.Millisecond) * float64(b.limit.Quota) / float64(b.limit.Window)
	left, _ := b.over(0)
	if left = max(left, 0); float64(d.Remaining) > left+tolerance || float64(d.Remaining) <= left-tolerance-1 {
		t.Fatalf("Remaining is %d, but the bucket holds %v units\ncharge   %+v\ndecision %+v", d.Remaining, left, c, d)
	}
}
