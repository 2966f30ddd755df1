package ratelimittest

import (
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// adjuster is a Limiter that is an Adjuster.
type adjuster interface {
	ratelimit.Limiter
	ratelimit.Adjuster
}

// resetter is a Limiter that is a Resetter.
type resetter interface {
	ratelimit.Limiter
	ratelimit.Resetter
}

var adjusterTests = []struct {
	name string
	test func(t *testing.T, l adjuster, advance func(time.Duration))
}{
	{"Adjust: gives back and takes", adjustments},
	{"Adjust: invalid adjustments are errors", invalidAdjustments},
	{"Adjust: a bucket keeps its limit", keptLimit},
	{"Adjust: full buckets are not created", noFullBucket},
	{"Adjust: a debt is kept until it is paid", keptDebt},
	{"Adjust: random settlements agree with rational numbers", randomSettlements},
	{"Adjust: concurrent calls", concurrentAdjustments},
}

// adjust makes an adjustment that must not fail.
func adjust(t *testing.T, l ratelimit.Adjuster, c ratelimit.Charge) {
	t.Helper()
	if err := l.Adjust(t.Context(), c); err != nil {
		t.Fatalf("Adjust(%+v): %v", c, err)
	}
}

func adjustments(t *testing.T, l adjuster, advance func(time.Duration)) {
	limit := ratelimit.Limit{Quota: 60, Window: time.Minute, Burst: 10}
	c := ratelimit.Charge{Rule: "adjust", Key: "k", Limit: limit}
	for i, s := range []struct {
		after     time.Duration
		adjust    int
		take      int
		denied    bool
		remaining int
		reset     time.Duration
	}{
		{take: 5, remaining: 5, reset: 5 * time.Second},
		{adjust: -3, remaining: 8, reset: 2 * time.Second},
		{adjust: 0, remaining: 8, reset: 2 * time.Second},
		{adjust: -100, remaining: 10},
		{take: 10, remaining: 0, reset: 10 * time.Second}, // the refund stopped at the burst
		{after: 2500 * time.Millisecond, adjust: 1, remaining: 1, reset: 8500 * time.Millisecond},
		{adjust: 1, remaining: 0, reset: 9500 * time.Millisecond},
		{adjust: 20, remaining: 0, reset: 29500 * time.Millisecond}, // more than the burst, and more than it holds
		{take: 1, denied: true, reset: 29500 * time.Millisecond},
		{adjust: -5, remaining: 0, reset: 24500 * time.Millisecond}, // in debt
		{after: 15 * time.Second, take: 1, denied: true, reset: 9500 * time.Millisecond},
		{after: 500 * time.Millisecond, take: 1, remaining: 0, reset: 10 * time.Second},
		{adjust: 1_000_000_000, reset: 1_000_000_010 * time.Second},
		{adjust: -1_000_000_000, reset: 10 * time.Second},
		{after: time.Second, take: 1, reset: 10 * time.Second},
	} {
		advance(s.after)
		c.Cost = s.adjust
		adjust(t, l, c)
		c.Cost = s.take
		d := take(t, l, c)
		if d.Allowed == s.denied || d.Remaining != s.remaining || (d.ResetAfter-s.reset).Abs() > slack {
			t.Fatalf("step %d: %+v, want %+v", i+1, d, s)
		}
	}
	c.Cost, c.Key = 4, "new"
	adjust(t, l, c)
	remains(t, l, c, 6)
}

func invalidAdjustments(t *testing.T, l adjuster, _ func(time.Duration)) {
	good := ratelimit.Charge{Rule: "p", Key: "sk_secret", Limit: ratelimit.PerHour(10), Cost: 1}
	for name, change := range map[string]func(*ratelimit.Charge){
		"the zero limit":   func(c *ratelimit.Charge) { c.Limit = ratelimit.Limit{} },
		"a negative burst": func(c *ratelimit.Charge) { c.Limit.Burst = -1 },
		"too much":         func(c *ratelimit.Charge) { c.Cost = 1_000_000_001 },
		"too much back":    func(c *ratelimit.Charge) { c.Cost = -1_000_000_001 },
	} {
		c := good
		change(&c)
		if err := l.Adjust(t.Context(), c); err == nil {
			t.Errorf("%s is not an error", name)
		} else if strings.Contains(err.Error(), c.Key) {
			t.Errorf("an error holds the key, which may be a secret: %v", err)
		}
	}
	remains(t, l, good, 10)
}

// keptLimit settles a request that was charged under an earlier plan of the caller.
func keptLimit(t *testing.T, l adjuster, advance func(time.Duration)) {
	old := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerHour(10), Cost: 5}
	now := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(60), Cost: 1}
	take(t, l, old)
	take(t, l, now)
	old.Cost = -2
	adjust(t, l, old)
	advance(10 * time.Second)
	remains(t, l, now, 16)
	old.Cost = 3
	adjust(t, l, old)
	advance(10 * time.Second)
	remains(t, l, now, 23)
	old.Cost = -1_000_000
	adjust(t, l, old)
	remains(t, l, now, 60)
}

// noFullBucket checks that giving back does not create a bucket. A bucket with the small
// limit would hold 10 units under the larger limit, not 60.
func noFullBucket(t *testing.T, l adjuster, _ func(time.Duration)) {
	small := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(10)}
	for _, cost := range []int{0, -1, -1_000} {
		small.Cost = cost
		adjust(t, l, small)
		remains(t, l, ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(60)}, 60)
	}
}

func keptDebt(t *testing.T, l adjuster, advance func(time.Duration)) {
	c := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(60), Cost: 60}
	take(t, l, c)
	c.Cost = 3600
	adjust(t, l, c)
	c.Cost = 1
	for range 60 {
		if d := take(t, l, c); d.Allowed {
			t.Fatalf("a bucket in debt admits a charge: %+v", d)
		}
		advance(time.Minute)
	}
	if d := take(t, l, c); d.Allowed || d.RetryAfter != time.Second {
		t.Errorf("when the debt is paid: %+v, want a denial with RetryAfter 1s", d)
	}
	advance(time.Second)
	if d := take(t, l, c); !d.Allowed {
		t.Errorf("a charge is denied a second after the debt is paid: %+v", d)
	}
}

// randomSettlements charges random estimates, and settles them in random order.
func randomSettlements(t *testing.T, l adjuster, advance func(time.Duration)) {
	rnd := rand.New(rand.NewPCG(8, 9))
	for i := range 20 {
		b := newRational(randomLimit(rnd))
		c := ratelimit.Charge{Rule: "settled", Key: strconv.Itoa(i), Limit: b.limit}
		var open []int
		for range 60 {
			step := time.Duration(rnd.Int64N(int64(2*b.limit.Window)/int64(b.limit.Quota) + 1)).Truncate(time.Microsecond)
			advance(step)
			b.advance(step)
			if len(open) > 0 && rnd.IntN(2) == 0 {
				k := rnd.IntN(len(open))
				c.Cost = rnd.IntN(2*b.burst()+1) - open[k]
				open = append(open[:k], open[k+1:]...)
				adjust(t, l, c)
				b.tokens.Sub(b.tokens, new(big.Rat).SetInt64(int64(c.Cost)))
				b.hold()
			}
			c.Cost = 1 + rnd.IntN(b.burst())
			d := take(t, l, c)
			b.check(t, c, d, d.Allowed)
			if d.Allowed {
				open = append(open, c.Cost)
			}
		}
	}
}

// concurrentAdjustments takes and gives back from many goroutines.
func concurrentAdjustments(t *testing.T, l adjuster, _ func(time.Duration)) {
	c := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.Per(1_000_000, 8760*time.Hour), Cost: 500_000}
	take(t, l, c)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c := c
			for range 50 {
				c.Cost = 10 + i
				if err := l.Adjust(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				c.Cost = -i
				if err := l.Adjust(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	remains(t, l, c, 500_000-16*50*10)
}

func resets(t *testing.T, l resetter, advance func(time.Duration)) {
	reset := func(rule, key string) {
		t.Helper()
		if err := l.Reset(t.Context(), rule, key); err != nil {
			t.Fatalf("Reset(%q, %q): %v", rule, key, err)
		}
	}
	c := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerHour(10), Cost: 10}
	reset("p", "k") // does not exist
	take(t, l, c)
	for _, other := range [][2]string{{"p", "l"}, {"q", "k"}, {"p", ""}, {"", "k"}, {"", "pk"}, {"pk", ""}, {"p", "k "}, {"P", "k"}} {
		reset(other[0], other[1])
	}
	remains(t, l, c, 0)
	other := c
	other.Key = "other"
	take(t, l, other)
	reset("p", "k")
	remains(t, l, other, 0)
	remains(t, l, c, 10)
	remains(t, l, ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerHour(50)}, 50) // the earlier limit is forgotten
	if d := take(t, l, c); !d.Allowed {
		t.Errorf("a charge is denied after a reset: %+v", d)
	}
	if d := take(t, l, c); d.Allowed {
		t.Errorf("a bucket that was reset admits more than its burst: %+v", d)
	}
	advance(6 * time.Minute)
	remains(t, l, c, 1)
	if l, ok := l.(adjuster); ok { // also out of a debt
		c.Cost = 1000
		adjust(t, l, c)
		reset("p", "k")
		remains(t, l, c, 10)
	}
}

// register tests a Registrar.
func register(t *testing.T, l ratelimit.Registrar) {
	for _, s := range []struct {
		rule  string
		limit ratelimit.Limit
		bad   bool
	}{
		{"a", ratelimit.PerHour(10), false},
		{"a", ratelimit.PerHour(10), false},
		{"a", ratelimit.PerHour(11), true},
		{"a", ratelimit.PerMinute(10), true},
		{"a", ratelimit.Limit{Quota: 10, Window: time.Hour, Burst: 5}, true},
		{"b", ratelimit.PerHour(11), false},
		{"a", ratelimit.PerHour(10), false},
	} {
		if err := l.Register(s.rule, s.limit); (err != nil) != s.bad {
			t.Errorf("Register(%q, %+v): error %v, want an error: %v", s.rule, s.limit, err, s.bad)
		}
	}
}
