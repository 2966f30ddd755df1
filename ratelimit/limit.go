package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// Limit is the size and the rate of a token bucket. The bucket holds up to Burst units,
// and Quota units come back in every Window, evenly. In any span of time t, the bucket
// admits at most Burst + Quota·t/Window units. PerSecond(100), for example, admits a
// burst of 100, and up to 200 in the first second. A smaller Burst spreads the requests
// more evenly.
type Limit struct {
	// Quota is the number of units that come back in a Window: 1 to 1e9, and at most one per
	// nanosecond.
	Quota int

	// Window is the time in which Quota units come back.
	Window time.Duration

	// Burst is the number of units that the bucket holds: up to 1e9. If zero, it is Quota.
	Burst int
}

// PerSecond returns a Limit of n units per second, with a burst of n.
func PerSecond(n int) Limit { return Per(n, time.Second) }

// PerMinute returns a Limit of n units per minute, with a burst of n.
func PerMinute(n int) Limit { return Per(n, time.Minute) }

// PerHour returns a Limit of n units per hour, with a burst of n.
func PerHour(n int) Limit { return Per(n, time.Hour) }

// Per returns a Limit of n units per window, with a burst of n.
func Per(n int, window time.Duration) Limit { return Limit{Quota: n, Window: window} }

// Unlimited returns the Limit that exempts a request from a rule if [Rule].LimitFor
// returns it. It is not valid anywhere else.
func Unlimited() Limit { return Limit{Window: -1} }

const (
	maxUnits  = 1_000_000_000
	maxRefill = 10 * 365 * 24 * time.Hour
	maxWait   = 10 * maxRefill // the longest time that is reported for a debt
)

var (
	errQuota  = fmt.Errorf("ratelimit: a Limit's Quota must be 1 to %d", maxUnits)
	errWindow = errors.New("ratelimit: a Limit's Window must be positive")
	errRate   = errors.New("ratelimit: a Limit must not give back more than a unit per nanosecond")
	errBurst  = fmt.Errorf("ratelimit: a Limit's Burst must be 0 to %d", maxUnits)
	errRefill = errors.New("ratelimit: a Limit must give back its Burst within ten years")
	errCost   = errors.New("ratelimit: a Charge's Cost is negative")
	errAdjust = fmt.Errorf("ratelimit: an Adjust by more than %d units", maxUnits)
	errSame   = errors.New("ratelimit: TakeAll with two charges to one bucket")
	errInto   = errors.New("ratelimit: TakeAll with slices of different lengths")
)

// Validate returns an error if a field is out of its range, if more than a unit comes
// back per nanosecond, or if Burst needs more than ten years to come back.
func (l Limit) Validate() error {
	switch {
	case l.Quota < 1 || l.Quota > maxUnits:
		return errQuota
	case l.Window <= 0:
		return errWindow
	case int64(l.Quota) > int64(l.Window):
		return errRate
	case l.Burst < 0 || l.Burst > maxUnits:
		return errBurst
	case float64(l.burst())/float64(l.Quota)*float64(l.Window) > float64(maxRefill):
		return errRefill
	}
	return nil
}

func (l Limit) burst() int { return cmp.Or(l.Burst, l.Quota) }

// filled returns the limit with its Burst filled in, so that two limits can be compared.
func (l Limit) filled() Limit {
	l.Burst = l.burst()
	return l
}

func (l Limit) rate() rate.Limit { return rate.Limit(float64(l.Quota) / l.Window.Seconds()) }

// refill returns how long n units take to come back, rounded down to whole nanoseconds.
// If it is 0, package rate admits them now. It is at most maxWait, which only a debt can
// reach.
func (l Limit) refill(n float64) time.Duration {
	perUnit := float64(l.Window) / float64(l.Quota)
	return time.Duration(min(max(n, 0)*perUnit, float64(maxWait)))
}
