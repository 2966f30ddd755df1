package ratelimittest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

func invalidCharges(t *testing.T, l ratelimit.Limiter, _ func(time.Duration)) {
	good := ratelimit.Charge{Rule: "p", Key: "sk_secret", Limit: ratelimit.PerSecond(10), Cost: 1}
	for name, change := range map[string]func(*ratelimit.Charge){
		"a negative cost":            func(c *ratelimit.Charge) { c.Cost = -3 },
		"the zero limit":             func(c *ratelimit.Charge) { c.Limit = ratelimit.Limit{} },
		"a negative quota":           func(c *ratelimit.Charge) { c.Limit.Quota = -1 },
		"a negative burst":           func(c *ratelimit.Charge) { c.Limit.Burst = -1 },
		"no window":                  func(c *ratelimit.Charge) { c.Limit.Window = 0 },
		"a unit in no time":          func(c *ratelimit.Charge) { c.Limit.Window = time.Nanosecond },
		"a quota that never refills": func(c *ratelimit.Charge) { c.Limit = ratelimit.Per(1, tenYears+time.Hour) },
		"a burst that never refills": func(c *ratelimit.Charge) { c.Limit = ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 1e9} },
	} {
		c := good
		change(&c)
		if d, err := l.Take(t.Context(), c); err == nil {
			t.Errorf("%s is not an error: %+v", name, d)
		} else if strings.Contains(err.Error(), c.Key) {
			t.Errorf("an error holds the key, which may be a secret: %v", err)
		}
	}
	if d := take(t, l, good); d.Remaining != 9 {
		t.Errorf("an error changed the bucket: %+v", d)
	}
}

// names are rules and keys that must not be mistaken for one another.
var names = [][2]string{
	{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {"a:b", "c"}, {"a", "b:c"}, {"", ""}, {"a", "b c"}, {"a", "b\x00c"}, {"a", "b\nc"},
	{"a", "{bc}"}, {"a", "\xff"}, {"a", "\xfe"}, {"A", "bc"}, {"a", "BC"}, {"a", "bc "}, {"a ", "bc"}, {"a", "\u00e9"}, {"a", "e\u0301"},
	{"a", strings.Repeat("x", 255)}, {"a", strings.Repeat("x", 256)}, {"a", strings.Repeat("x", 255) + "y"}, // the longest keys of the middleware
}

func separateBuckets(t *testing.T, l ratelimit.Limiter, _ func(time.Duration)) {
	seen := map[[2]string]bool{}
	for _, name := range names {
		c := ratelimit.Charge{Rule: name[0], Key: name[1], Limit: ratelimit.PerHour(1), Cost: 1}
		if seen[name] {
			t.Fatalf("%q is in the list twice", name)
		}
		seen[name] = true
		if d := take(t, l, c); !d.Allowed {
			t.Errorf("%q shares its bucket with an earlier one", name)
		}
		if d := take(t, l, c); d.Allowed {
			t.Errorf("%q admits more than its burst", name)
		}
	}
}

func concurrentCharges(t *testing.T, l ratelimit.Limiter, advance func(time.Duration)) {
	c := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerSecond(100), Cost: 1}
	round := func() int64 {
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 25 {
					d, err := l.Take(t.Context(), c)
					if err != nil {
						t.Error(err)
						return
					}
					if d.Allowed {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		return admitted.Load()
	}
	if n := round(); n != 100 {
		t.Errorf("%d charges were admitted, want the burst of 100", n)
	}
	advance(250 * time.Millisecond)
	if n := round(); n != 25 {
		t.Errorf("%d charges were admitted after a quarter of a second, want 25", n)
	}
}

// unitsInTime checks buckets at the instants at which units come back, where floating
// point may be slightly less than a whole unit.
func unitsInTime(t *testing.T, l ratelimit.Limiter, advance func(time.Duration)) {
	advance(1_234_567 * time.Microsecond) // the last digits of the time must count
	for i, unit := range []time.Duration{time.Millisecond, 300 * time.Millisecond, 7 * time.Second, 12 * time.Second, 131 * time.Second} {
		for quota := 1; quota < 30; quota += 4 {
			c := ratelimit.Charge{
				Rule: "due", Key: fmt.Sprint(i, quota), Limit: ratelimit.Per(quota, unit*time.Duration(quota)), Cost: quota,
			}
			take(t, l, c)
			c.Cost = 0
			for n := range quota {
				advance(unit - time.Millisecond)
				if d := take(t, l, c); d.Remaining != n {
					t.Fatalf("a millisecond early: %+v: %+v, want Remaining %d", c, d, n)
				}
				advance(time.Millisecond)
				if d := take(t, l, c); d.Remaining != n+1 {
					t.Fatalf("in time: %+v: %+v, want Remaining %d", c, d, n+1)
				}
			}
		}
	}
}

// model is a token bucket in integers. A token is limit.Window units, and limit.Quota
// units come back in each nanosecond.
type model struct {
	limit  ratelimit.Limit
	burst  int64
	tokens int64
}

func newModel(l ratelimit.Limit) *model {
	m := &model{limit: l, burst: int64(burstOf(l))}
	m.tokens = m.burst * int64(l.Window)
	return m
}

func (m *model) advance(d time.Duration) {
	m.tokens = min(m.tokens+int64(d)*int64(m.limit.Quota), m.burst*int64(m.limit.Window))
}

// wait returns the time until the bucket holds the cost.
func (m *model) wait(cost int) time.Duration {
	missing := int64(cost)*int64(m.limit.Window) - m.tokens
	q := int64(m.limit.Quota)
	return time.Duration((max(missing, 0) + q - 1) / q)
}

// randomLimit returns a limit between one per hour and 500 per second.
func randomLimit(rnd *rand.Rand) ratelimit.Limit {
	windows := []time.Duration{100 * time.Millisecond, time.Second, 1500 * time.Millisecond, 7 * time.Second, time.Minute, time.Hour}
	return ratelimit.Limit{
		Quota:  1 + rnd.IntN(50),
		Window: windows[rnd.IntN(len(windows))],
		Burst:  rnd.IntN(100),
	}
}

// randomCharges compares the limiter with the model, except where the decision depends on
// a time shorter than slack.
func randomCharges(t *testing.T, l ratelimit.Limiter, advance func(time.Duration)) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		limit := randomLimit(rnd)
		m := newModel(limit)
		c := ratelimit.Charge{Rule: "p", Key: strconv.Itoa(i), Limit: limit}
		var behind time.Duration // how far the limiter may be ahead
		for range 60 {
			step := time.Duration(rnd.Int64N(int64(3 * limit.Window / time.Duration(limit.Quota))))
			step = step.Truncate(time.Microsecond)
			advance(step)
			m.advance(step)
			c.Cost = 1 + rnd.IntN(max(int(m.burst)/4, 1))
			wait := m.wait(c.Cost)
			d := take(t, l, c)
			if wait > behind+slack || wait == 0 && behind == 0 {
				if d.Allowed != (wait == 0) {
					t.Fatalf("Allowed is %v, but the model admits the cost %d after %v\nlimit    %+v\ndecision %+v", d.Allowed, c.Cost, wait, limit, d)
				}
			}
			if d.Allowed {
				m.tokens -= int64(c.Cost) * int64(limit.Window)
				if m.tokens < 0 { // admitted within the slack
					behind += time.Duration(-m.tokens / int64(limit.Quota))
					m.tokens = 0
				}
			}
		}
	}
}

func exactRetryAfter(t *testing.T, l ratelimit.Limiter, advance func(time.Duration)) {
	rnd := rand.New(rand.NewPCG(3, 4))
	denials := 0
	for i := 0; denials < 100; i++ {
		limit := randomLimit(rnd)
		burst := burstOf(limit)
		// Two buckets with the same history: one is charged a second early, the other in
		// time.
		early := ratelimit.Charge{Rule: "early", Key: strconv.Itoa(i), Limit: limit, Cost: 1}
		inTime := early
		inTime.Rule = "in time"
		for range rnd.IntN(20) {
			advance(time.Duration(rnd.Int64N(int64(limit.Window))).Truncate(time.Microsecond))
			early.Cost = 1 + rnd.IntN(burst)
			inTime.Cost = early.Cost
			take(t, l, early)
			take(t, l, inTime)
		}
		early.Cost, inTime.Cost = burst, burst
		take(t, l, early)
		d := take(t, l, inTime)
		if d.Allowed {
			early.Cost = 1 + rnd.IntN(burst)
			inTime.Cost = early.Cost
			take(t, l, early)
			d = take(t, l, inTime)
		}
		if d.Allowed {
			t.Fatalf("an empty bucket admits %+v: %+v", inTime, d)
		}
		denials++
		if d.RetryAfter > time.Second {
			advance(d.RetryAfter - time.Second)
			if e := take(t, l, early); e.Allowed {
				t.Fatalf("admitted a second before RetryAfter %v: %+v", d.RetryAfter, early)
			}
			advance(time.Second)
		} else {
			advance(d.RetryAfter)
		}
		if e := take(t, l, inTime); !e.Allowed {
			t.Fatalf("denied after RetryAfter %v: %+v: %+v", d.RetryAfter, inTime, e)
		}
	}
}
