package redislimit

import (
	"math"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// result is what take.lua replies about one charge.
type result struct {
	allowed bool
	full    time.Duration // until the bucket is full
}

// maxWait is the longest time that is reported for a debt.
const maxWait = 100 * 365 * 24 * time.Hour

// decide describes a bucket some time after the script has replied.
func decide(c ratelimit.Charge, r result, age time.Duration) ratelimit.Decision {
	burst, perUnit := burstOf(c.Limit), perUnit(c.Limit)
	full := max(r.full-age, 0)
	d := ratelimit.Decision{Allowed: r.allowed, Limit: c.Limit, Remaining: burst}
	missing := math.Ceil((float64(full) - slack(c.Limit)) / perUnit) // units, begun ones too
	if !r.allowed && c.Cost <= burst {
		missing = max(missing, float64(burst-c.Cost+1)) // even if it is a fraction of a nanosecond
	}
	if missing > 0 {
		d.Remaining = burst - int(min(missing, float64(burst)))
		d.RefillAfter = untilHolds(d.Remaining+1, c.Limit, full)
		d.ResetAfter = max(min(full, maxWait), d.RefillAfter)
	}
	if wait := waitFor(c, full); !r.allowed && wait > 0 {
		d.RetryAfter = wait.Truncate(time.Second)
		if d.RetryAfter < wait {
			d.RetryAfter += time.Second
		}
	}
	return d
}

// waitFor returns the time until a bucket that is full after the given time holds the cost of a
// denied charge: at least a nanosecond, or 0 if it never does.
func waitFor(c ratelimit.Charge, full time.Duration) time.Duration {
	if c.Cost > burstOf(c.Limit) {
		return 0
	}
	return max(untilHolds(c.Cost, c.Limit, full)-time.Duration(slack(c.Limit)), 1)
}

// holds reports whether a bucket that is full after the given time holds the cost.
func holds(c ratelimit.Charge, full time.Duration) bool {
	return c.Cost == 0 || c.Cost <= burstOf(c.Limit) && missing(c.Cost, c.Limit, full) <= slack(c.Limit)
}

// untilHolds returns the time until a bucket holds a number of units: at least a nanosecond.
func untilHolds(units int, l ratelimit.Limit, full time.Duration) time.Duration {
	return time.Duration(min(max(missing(units, l, full), 1), float64(maxWait)))
}

// missing returns the nanoseconds until a bucket that is full after the given time holds a number
// of units. It is not positive if the bucket holds them now.
func missing(units int, l ratelimit.Limit, full time.Duration) float64 {
	return float64(full) - float64(burstOf(l)-units)*perUnit(l)
}

// perUnit returns the nanoseconds in which one unit comes back.
func perUnit(l ratelimit.Limit) float64 { return float64(l.Window) / float64(l.Quota) }

// slack returns the nanoseconds that do not count, as in take.lua: less than one, or the rounding
// error of the longest times.
func slack(l ratelimit.Limit) float64 { return max(0.999, float64(burstOf(l))*perUnit(l)*0x1p-50) }
