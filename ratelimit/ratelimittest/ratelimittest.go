// Package ratelimittest tests implementations of ratelimit.Limiter ([Run]) and of
// ratelimit.Slots ([RunSlots]). Apart from package ratelimit, it imports only the standard
// library.
package ratelimittest

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// Run tests a limiter. If the limiter is also a [ratelimit.MultiLimiter],
// [ratelimit.Adjuster], [ratelimit.Resetter] or [ratelimit.Registrar], Run tests these
// methods too.
//
// Run calls newLimiter several times. newLimiter may use its t for cleanup. It returns a
// limiter without buckets, and a function that moves the limiter's clock forward. At all
// other times, the clock must stand still.
//
//	func TestLimiter(t *testing.T) {
//		ratelimittest.Run(t, func(t *testing.T) (ratelimit.Limiter, func(time.Duration)) {
//			clock := newTestClock()
//			return newLimiter(clock.Now), clock.Advance
//		})
//	}
//
// A limiter may round times to microseconds. Run does not test a second clock, such as
// that of a server that expires keys, or a clock that is set back. Test these cases
// yourself.
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
		{"invalid charges are errors", invalidCharges},
		{"rules and keys do not share buckets", separateBuckets},
		{"concurrent charges take exactly the burst", concurrentCharges},
		{"units come back in time", unitsInTime},
		{"random charges agree with integer arithmetic", randomCharges},
		{"RetryAfter is exact", exactRetryAfter},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			l, advance := newLimiter(t)
			c.test(t, l, advance)
		})
	}
	probe, _ := newLimiter(t)
	if _, ok := probe.(ratelimit.MultiLimiter); ok {
		for _, c := range multiTests {
			t.Run(c.name, func(t *testing.T) {
				l, advance := newLimiter(t)
				c.test(t, l.(ratelimit.MultiLimiter), advance)
			})
		}
	}
	if _, ok := probe.(ratelimit.Adjuster); ok {
		for _, c := range adjusterTests {
			t.Run(c.name, func(t *testing.T) {
				l, advance := newLimiter(t)
				c.test(t, l.(adjuster), advance)
			})
		}
	}
	if _, ok := probe.(ratelimit.Resetter); ok {
		t.Run("Reset: fills the bucket", func(t *testing.T) {
			l, advance := newLimiter(t)
			resets(t, l.(resetter), advance)
		})
	}
	if _, ok := probe.(ratelimit.Registrar); ok {
		t.Run("Register: a rule has one limit", func(t *testing.T) {
			l, _ := newLimiter(t)
			register(t, l.(ratelimit.Registrar))
		})
	}
}

// take makes a charge that must not fail, and checks that its decision is consistent.
func take(t *testing.T, l ratelimit.Limiter, c ratelimit.Charge) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), c)
	if err != nil {
		t.Fatalf("Take(%+v): %v", c, err)
	}
	consistent(t, c, d)
	return d
}

// burstOf returns the number of units that a bucket holds.
func burstOf(l ratelimit.Limit) int { return cmp.Or(l.Burst, l.Quota) }

// slack is the error that a limiter may make.
const slack = 10 * time.Microsecond

func consistent(t *testing.T, c ratelimit.Charge, d ratelimit.Decision) {
	t.Helper()
	burst := burstOf(c.Limit)
	for what, wrong := range map[string]bool{
		"Limit is not the charge's":            d.Limit != c.Limit,
		"Remaining is out of range":            d.Remaining < 0 || d.Remaining > burst,
		"RetryAfter although it was allowed":   d.Allowed && d.RetryAfter != 0,
		"RetryAfter is not in whole seconds":   d.RetryAfter < 0 || d.RetryAfter%time.Second != 0,
		"RetryAfter for a cost over the burst": c.Cost > burst && d.RetryAfter != 0,
		"no RetryAfter although waiting helps": !d.Allowed && c.Cost <= burst && d.RetryAfter == 0,
		"a cost over the burst was allowed":    d.Allowed && c.Cost > burst,
		"RefillAfter is after ResetAfter":      d.RefillAfter < 0 || d.RefillAfter > d.ResetAfter+slack,
		"RefillAfter of a full bucket":         d.Remaining == burst && d.RefillAfter > slack,
		"no RefillAfter of a bucket with room": d.Remaining < burst && d.RefillAfter == 0,
	} {
		if wrong {
			t.Fatalf("%s\ncharge   %+v\ndecision %+v", what, c, d)
		}
	}
}
