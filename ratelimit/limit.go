package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// Limit is a token bucket: it holds Burst units, Quota units flow in every Window, evenly, and what
// it does not hold is lost. In any span of time W it admits at most Burst + Quota·W/Window units:
// with 100 a second, 100 at once and up to 200 in the first second.
type Limit struct {
	// Quota is the number of units that come back every Window: 1 to 1e9, and no more than one a
	// nanosecond.
	Quota int

	// Window is the time in which Quota units come back.
	Window time.Duration

	// Burst is the number of units that may be taken at once, 1 to 1e9. 0 is Quota.
	Burst int
}

// PerSecond is n units a second, all of which may be taken at once.
func PerSecond(n int) Limit { return Per(n, time.Second) }

// PerMinute is n units a minute, all of which may be taken at once.
func PerMinute(n int) Limit { return Per(n, time.Minute) }

// PerHour is n units an hour, all of which may be taken at once.
func PerHour(n int) Limit { return Per(n, time.Hour) }

// Per is n units a window, all of which may be taken at once.
func Per(n int, window time.Duration) Limit { return Limit{Quota: n, Window: window} }

// Unlimited is for [Rule].LimitFor: the rule does not apply to the request, as if it had been
// skipped. It is valid nowhere else.
func Unlimited() Limit { return Limit{Window: -1} }

const (
	maxUnits  = 1_000_000_000
	maxRefill = 10 * 365 * 24 * time.Hour
	maxWait   = 10 * maxRefill // how long a bucket that is in debt is said to take
)

var (
	errQuota  = fmt.Errorf("ratelimit: a Limit's Quota must be 1 to %d", maxUnits)
	errWindow = errors.New("ratelimit: a Limit's Window must be positive")
	errRate   = errors.New("ratelimit: a Limit must not give back more than a unit a nanosecond")
	errBurst  = fmt.Errorf("ratelimit: a Limit's Burst must be 0 to %d", maxUnits)
	errRefill = errors.New("ratelimit: a Limit must give back its Burst within ten years")
	errCost   = errors.New("ratelimit: a Charge's Cost is negative")
	errAdjust = fmt.Errorf("ratelimit: an Adjust of more than %d units", maxUnits)
	errSame   = errors.New("ratelimit: TakeAll with two charges of one bucket")
	errInto   = errors.New("ratelimit: TakeAll needs as many places for decisions as charges")
)

// Validate returns an error for a limit that no bucket can keep: a field that is out of its range,
// more than a unit a nanosecond, or a Burst that needs more than ten years to come back.
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
	case l.Burst <= l.Quota && l.Window <= maxRefill: // the usual case needs no arithmetic
	case float64(l.burst())/float64(l.Quota)*float64(l.Window) > float64(maxRefill):
		return errRefill
	}
	return nil
}

func (l Limit) burst() int {
	if l.Burst == 0 {
		return l.Quota
	}
	return l.Burst
}

func (l Limit) rate() rate.Limit { return rate.Limit(float64(l.Quota) / l.Window.Seconds()) }

// refill returns how long n units take to come back, cut off to whole nanoseconds: at 0, package rate
// admits them now. It is at most maxWait, which only a debt reaches.
func (l Limit) refill(n float64) time.Duration {
	perUnit := float64(l.Window) / float64(l.Quota)
	return time.Duration(min(max(n, 0)*perUnit, float64(maxWait)))
}
