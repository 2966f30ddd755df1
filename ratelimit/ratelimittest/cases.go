package ratelimittest

import (
	"math"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// step is a charge, and the decision that it must get.
type step struct {
	after time.Duration // how far the clock moves before the charge
	key   string
	limit ratelimit.Limit
	cost  int  // 0 means 1
	peek  bool // charge 0
	times int  // how often the charge is made; 0 means 1

	denied    bool
	remaining int // after the last charge
	retry     int // seconds
	reset     time.Duration
	refill    time.Duration
}

func (s step) run(t *testing.T, l ratelimit.Limiter, name string, limit ratelimit.Limit) {
	t.Helper()
	c := ratelimit.Charge{Rule: "table", Key: s.key, Limit: limit, Cost: max(s.cost, 1)}
	if s.limit != (ratelimit.Limit{}) {
		c.Limit = s.limit
	}
	if s.peek {
		c.Cost = 0
	}
	var d ratelimit.Decision
	for range max(s.times, 1) {
		d = take(t, l, c)
		if d.Allowed == s.denied {
			t.Fatalf("%s: Allowed is %v: %+v", name, d.Allowed, d)
		}
	}
	if d.Remaining != s.remaining {
		t.Errorf("%s: Remaining is %d, want %d", name, d.Remaining, s.remaining)
	}
	if want := time.Duration(s.retry) * time.Second; d.RetryAfter != want {
		t.Errorf("%s: RetryAfter is %v, want %v", name, d.RetryAfter, want)
	}
	if s.refill != 0 && (d.RefillAfter-s.refill).Abs() > slack {
		t.Errorf("%s: RefillAfter is %v, want %v", name, d.RefillAfter, s.refill)
	}
	if s.reset != 0 && (d.ResetAfter-s.reset).Abs() > slack {
		t.Errorf("%s: ResetAfter is %v, want %v", name, d.ResetAfter, s.reset)
	}
}

var cases = []struct {
	name  string
	limit ratelimit.Limit
	steps []step
}{
	{"a burst, then what has come back", ratelimit.PerSecond(10), []step{
		{remaining: 9, refill: 100 * time.Millisecond, reset: 100 * time.Millisecond},
		{times: 9, remaining: 0, refill: 100 * time.Millisecond, reset: time.Second},
		{denied: true, retry: 1},
		{after: 99 * time.Millisecond, denied: true, retry: 1, refill: time.Millisecond},
		{after: time.Millisecond, remaining: 0},
		{denied: true, retry: 1},
		{after: 950 * time.Millisecond, times: 9, remaining: 0, refill: 50 * time.Millisecond},
		{denied: true, retry: 1},
	}},
	{"what the bucket does not hold is lost", ratelimit.PerSecond(2), []step{
		{times: 2, remaining: 0},
		{after: 1000 * time.Hour, times: 2, remaining: 0},
		{denied: true, retry: 1},
	}},
	{"microseconds count", ratelimit.PerSecond(10_000), []step{
		{after: 1_234_570 * time.Microsecond, cost: 10_000, remaining: 0, refill: 100 * time.Microsecond},
		{after: 50 * time.Microsecond, denied: true, retry: 1, refill: 50 * time.Microsecond},
		{after: 50 * time.Microsecond, remaining: 0},
		{after: 950 * time.Microsecond, remaining: 8, refill: 50 * time.Microsecond},
	}},
	{"five a minute", ratelimit.PerMinute(5), []step{
		{times: 5, remaining: 0, refill: 12 * time.Second, reset: time.Minute},
		{denied: true, retry: 12},
		{after: 500 * time.Millisecond, denied: true, retry: 12},
		{after: 10500 * time.Millisecond, denied: true, retry: 1},
		{after: time.Second, remaining: 0},
		{denied: true, retry: 12},
		{after: 36 * time.Second, remaining: 2},
	}},
	{"a thousand a day", ratelimit.Per(1000, 24*time.Hour), []step{
		{cost: 1000, remaining: 0, reset: 24 * time.Hour},
		{denied: true, retry: 87}, // 86.4
		{after: 86 * time.Second, denied: true, retry: 1},
		{after: 400 * time.Millisecond, remaining: 0},
	}},
	{"a window under a second", ratelimit.Per(5, 100*time.Millisecond), []step{
		{times: 5, remaining: 0, reset: 100 * time.Millisecond},
		{denied: true, retry: 1},
		{after: 20 * time.Millisecond, remaining: 0},
		{denied: true, retry: 1},
	}},
	{"a burst over the quota", ratelimit.Limit{Quota: 1, Window: time.Second, Burst: 5}, []step{
		{times: 5, remaining: 0, refill: time.Second, reset: 5 * time.Second},
		{denied: true, retry: 1},
		{after: 2 * time.Second, times: 2, remaining: 0},
		{denied: true, retry: 1},
		{cost: 4, denied: true, retry: 4},
	}},
	{"a burst under the quota", ratelimit.Limit{Quota: 30, Window: time.Minute, Burst: 1}, []step{
		{remaining: 0},
		{denied: true, retry: 2},
		{after: 2 * time.Second, remaining: 0},
		{after: time.Hour, remaining: 0},
		{denied: true, retry: 2},
	}},
	{"costs", ratelimit.PerMinute(60), []step{
		{cost: 50, remaining: 10},
		{cost: 20, denied: true, remaining: 10, retry: 10},
		{cost: 10, remaining: 0},
		{after: 15 * time.Second, cost: 20, denied: true, remaining: 15, retry: 5},
		{after: 5 * time.Second, cost: 20, remaining: 0},
	}},
	{"a cost over the burst is denied for good and changes nothing", ratelimit.PerSecond(10), []step{
		{cost: 11, denied: true, remaining: 10},
		{cost: 10, remaining: 0},
		{cost: 11, denied: true},
		{after: 100 * time.Millisecond, remaining: 0},
	}},
	{"a cost is not cut to 32 bits", ratelimit.PerMinute(10), []step{
		{cost: min(1<<32, math.MaxInt), denied: true, remaining: 10},
		{cost: min(1<<32+1, math.MaxInt), denied: true, remaining: 10},
		{cost: math.MaxInt, denied: true, remaining: 10},
		{remaining: 9},
		{cost: math.MaxInt, denied: true, remaining: 9},
	}},
	{"denials take nothing", ratelimit.PerMinute(6), []step{
		{times: 6, remaining: 0},
		{denied: true, times: 100, retry: 10},
		{after: 4 * time.Second, denied: true, times: 100, retry: 6},
		{after: 6 * time.Second, remaining: 0},
	}},
	{"peeks take nothing", ratelimit.PerMinute(6), []step{
		{peek: true, remaining: 6},
		{times: 6, remaining: 0},
		{peek: true, times: 100, remaining: 0, refill: 10 * time.Second},
		{denied: true, retry: 10},
		{after: 5 * time.Second, peek: true, times: 100, remaining: 0, refill: 5 * time.Second},
		{after: 5 * time.Second, peek: true, remaining: 1},
		{remaining: 0},
	}},
	{"a larger plan gives no credit", ratelimit.PerMinute(10), []step{
		{times: 10, remaining: 0},
		{limit: ratelimit.PerMinute(60), denied: true, retry: 1},
		{after: 5 * time.Second, limit: ratelimit.PerMinute(60), remaining: 4},
	}},
	{"a larger plan does not fill the bucket", ratelimit.PerMinute(10), []step{
		{remaining: 9},
		{limit: ratelimit.PerMinute(60), remaining: 8, reset: 52 * time.Second},
	}},
	{"a plan with a larger burst only", ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 5}, []step{
		{cost: 5, remaining: 0},
		{limit: ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 10}, denied: true, remaining: 0, retry: 3600},
		{after: 10 * time.Hour, limit: ratelimit.Limit{Quota: 1, Window: time.Hour, Burst: 10}, cost: 9, remaining: 1},
	}},
	{"a smaller plan forgives no debt", ratelimit.PerMinute(60), []step{
		{cost: 55, remaining: 5},
		{limit: ratelimit.PerMinute(10), cost: 5, remaining: 0},
		{limit: ratelimit.PerMinute(10), denied: true, retry: 6},
	}},
	{"a smaller plan holds less", ratelimit.PerMinute(60), []step{
		{remaining: 59},
		{limit: ratelimit.PerMinute(10), remaining: 9},
	}},
	{"a smaller plan and back gives no credit", ratelimit.PerMinute(60), []step{
		{remaining: 59},
		{limit: ratelimit.PerMinute(10), cost: 10, remaining: 0},
		{denied: true, retry: 1},
		{limit: ratelimit.PerMinute(10), denied: true, retry: 6},
	}},
	{"the same quota in another window", ratelimit.PerMinute(10), []step{
		{times: 10, remaining: 0},
		{limit: ratelimit.PerHour(10), denied: true, retry: 360},
		{after: time.Minute, limit: ratelimit.PerHour(10), denied: true, retry: 300},
	}},
	{"a peek under another plan changes nothing", ratelimit.PerMinute(60), []step{
		{remaining: 59},
		{limit: ratelimit.PerMinute(10), peek: true, remaining: 10},
		{peek: true, remaining: 59},
	}},
	{"a denial for good under another plan changes nothing", ratelimit.PerMinute(60), []step{
		{remaining: 59},
		{limit: ratelimit.PerMinute(10), cost: 11, denied: true, remaining: 10},
		{peek: true, remaining: 59},
	}},
	{"a peek makes no bucket", ratelimit.PerMinute(60), []step{
		{limit: ratelimit.PerMinute(10), peek: true, remaining: 10},
		{remaining: 59},
	}},
	{"a denial for good makes no bucket", ratelimit.PerMinute(60), []step{
		{limit: ratelimit.PerMinute(10), cost: 11, denied: true, remaining: 10},
		{remaining: 59},
	}},
	{"a denial is none under a faster plan", ratelimit.PerHour(10), []step{
		{times: 10, remaining: 0},
		{denied: true, retry: 360},
		{after: 36 * time.Second, limit: ratelimit.PerMinute(60), denied: true, retry: 1},
		{after: time.Second, limit: ratelimit.PerMinute(60), remaining: 0},
	}},
	{"a smaller plan, full again, and back gives no credit", ratelimit.PerHour(1000), []step{
		{cost: 1000, remaining: 0},
		{limit: ratelimit.PerSecond(1), denied: true, retry: 1},
		{after: 10 * time.Minute, limit: ratelimit.PerSecond(1), peek: true, remaining: 1},
		{cost: 501, denied: true, remaining: 1, retry: 1800},
	}},
	{"the largest quota", ratelimit.PerSecond(1e9), []step{
		{cost: 1e9, remaining: 0, reset: time.Second},
		{cost: 1e9, denied: true, retry: 1},
		{after: 500 * time.Millisecond, cost: 4e8, remaining: 1e8, reset: 900 * time.Millisecond},
		{after: 500 * time.Millisecond, cost: 6e8, remaining: 0},
	}},
	{"the largest burst that comes back one by one", ratelimit.Limit{Quota: 1, Window: time.Second, Burst: 315_360_000}, []step{
		{cost: 315_360_000, remaining: 0, reset: tenYears},
		{cost: 315_360_000, denied: true, retry: 315_360_000},
		{after: tenYears / 2, cost: 157_680_000, remaining: 0},
		{cost: 157_680_000, denied: true, retry: 157_680_000},
	}},
	{"one in ten years", ratelimit.Per(1, tenYears), []step{
		{remaining: 0, refill: tenYears},
		{denied: true, retry: 315_360_000},
		{after: tenYears / 2, denied: true, retry: 157_680_000},
		{after: tenYears/2 - time.Second, denied: true, retry: 1},
		{after: time.Second, remaining: 0},
	}},
	{"the most in the longest time", ratelimit.Per(1e9, tenYears), []step{
		{cost: 1e9, remaining: 0, reset: tenYears},
		{denied: true, retry: 1},
		{after: tenYears / 2, cost: 4e8, remaining: 1e8},
		{cost: 1e9, denied: true, remaining: 1e8, retry: 283_824_000},
	}},
}

// tenYears is the longest time that a bucket may take to be full.
const tenYears = 10 * 365 * 24 * time.Hour
