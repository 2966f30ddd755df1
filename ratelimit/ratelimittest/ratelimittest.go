// Package ratelimittest checks implementations of ratelimit.Limiter. It needs nothing but the
// standard library.
package ratelimittest

import (
	"fmt"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// Run checks a limiter, and what else it is of [ratelimit.MultiLimiter], [ratelimit.Adjuster],
// [ratelimit.Resetter] and [ratelimit.Registrar]. newLimiter returns a limiter without buckets, on
// a clock that stands still until the function that it also returns moves it forward. It is called
// once for each test, with that test's t, on which it may register a cleanup, and once to see what
// it returns.
//
//	func TestLimiter(t *testing.T) {
//		ratelimittest.Run(t, func(t *testing.T) (ratelimit.Limiter, func(time.Duration)) {
//			clock := newTestClock()
//			return newLimiter(clock.Now), clock.Advance
//		})
//	}
//
// A limiter may reckon in units of a microsecond or finer: no test depends on less. What it does by
// another clock, such as a server's that expires keys, the suite does not see, nor what it does
// when a clock is set back: test that, too.
func Run(t *testing.T, newLimiter func(t *testing.T) (ratelimit.Limiter, func(time.Duration))) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, advance := newLimiter(t)
			for i, s := range c.steps {
				advance(s.after)
				s.run(t, l, fmt.Sprintf("step %d", i+1), c.limit)
			}
		})
	}
	tests := []struct {
		name string
		test func(t *testing.T, l ratelimit.Limiter, advance func(time.Duration))
	}{
		{"what cannot be charged is an error", invalid},
		{"buckets are apart", apart},
		{"many goroutines take exactly what there is", concurrent},
		{"units are there when they are due", due},
		{"random schedules agree with integer arithmetic", schedules},
		{"Retry-After is sufficient and minimal", retryAfter},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			l, advance := newLimiter(t)
			c.test(t, l, advance)
		})
	}
	which, _ := newLimiter(t)
	if _, ok := which.(ratelimit.MultiLimiter); ok {
		for _, c := range multiTests {
			t.Run(c.name, func(t *testing.T) {
				l, advance := newLimiter(t)
				c.test(t, l.(ratelimit.MultiLimiter), advance)
			})
		}
	}
	if _, ok := which.(ratelimit.Adjuster); ok {
		for _, c := range adjusterTests {
			t.Run(c.name, func(t *testing.T) {
				l, advance := newLimiter(t)
				c.test(t, l.(adjuster), advance)
			})
		}
	}
	if _, ok := which.(ratelimit.Resetter); ok {
		for _, c := range resetterTests {
			t.Run(c.name, func(t *testing.T) {
				l, advance := newLimiter(t)
				c.test(t, l.(resetter), advance)
			})
		}
	}
	if _, ok := which.(ratelimit.Registrar); ok {
		t.Run("names of rules", func(t *testing.T) {
			l, _ := newLimiter(t)
			registered(t, l.(ratelimit.Registrar))
		})
	}
}

// take makes a charge that must not fail, and checks what holds of every decision.
func take(t *testing.T, l ratelimit.Limiter, c ratelimit.Charge) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), c)
	if err != nil {
		t.Fatalf("Take(%+v): %v", c, err)
	}
	consistent(t, c, d)
	return d
}

// slack is how finely a limiter has to reckon.
const slack = 10 * time.Microsecond

func consistent(t *testing.T, c ratelimit.Charge, d ratelimit.Decision) {
	t.Helper()
	burst := c.Limit.Burst
	if burst == 0 {
		burst = c.Limit.Quota
	}
	for what, wrong := range map[string]bool{
		"Limit is not the charge's":                     d.Limit != c.Limit,
		"Remaining is out of range":                     d.Remaining < 0 || d.Remaining > burst,
		"RetryAfter although it was allowed":            d.Allowed && d.RetryAfter != 0,
		"RetryAfter is not a number of seconds":         d.RetryAfter < 0 || d.RetryAfter%time.Second != 0,
		"RetryAfter for a cost over the burst":          c.Cost > burst && d.RetryAfter != 0,
		"no RetryAfter for a denial that time will end": !d.Allowed && c.Cost <= burst && d.RetryAfter == 0,
		"a cost over the burst was allowed":             d.Allowed && c.Cost > burst,
		"RefillAfter is not before ResetAfter":          d.RefillAfter < 0 || d.RefillAfter > d.ResetAfter+slack,
		"RefillAfter of a full bucket":                  d.Remaining == burst && d.RefillAfter > slack,
		"no RefillAfter of one that is not full":        d.Remaining < burst && d.RefillAfter == 0,
	} {
		if wrong {
			t.Fatalf("%s\ncharge   %+v\ndecision %+v", what, c, d)
		}
	}
}
