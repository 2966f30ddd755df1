package ratelimittest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

var multiTests = []struct {
	name string
	test func(t *testing.T, l ratelimit.MultiLimiter, advance func(time.Duration))
}{
	{"TakeAll: all charges or none", allOrNone},
	{"TakeAll: no charges", noCharges},
	{"TakeAll: each decision is about its own charge", ownDecisions},
	{"TakeAll: random charges agree with rational numbers", randomSets},
	{"TakeAll: a denied charge changes the limit", deniedLimit},
	{"TakeAll: an error charges none", errorChargesNone},
	{"TakeAll: other calls do not see a denied one", deniedUnseen},
	{"TakeAll: concurrent calls", concurrentSets},
}

// takeAll makes charges that must not fail, and reports whether all were allowed.
func takeAll(t *testing.T, l ratelimit.MultiLimiter, charges ...ratelimit.Charge) ([]ratelimit.Decision, bool) {
	t.Helper()
	into := make([]ratelimit.Decision, len(charges))
	for i := range into { // previous contents must not matter
		into[i] = ratelimit.Decision{Allowed: i%2 == 0, Remaining: -1, RetryAfter: 7, RefillAfter: 7, ResetAfter: 7}
	}
	if err := l.TakeAll(t.Context(), charges, into); err != nil {
		t.Fatalf("TakeAll(%+v): %v", charges, err)
	}
	all := true
	for i, d := range into {
		consistent(t, charges[i], d)
		all = all && d.Allowed
	}
	return into, all
}

func remains(t *testing.T, l ratelimit.Limiter, c ratelimit.Charge, want int) {
	t.Helper()
	c.Cost = 0
	if d := take(t, l, c); d.Remaining != want {
		t.Errorf("%d units remain in the bucket of %+v, want %d", d.Remaining, c, want)
	}
}

func allOrNone(t *testing.T, l ratelimit.MultiLimiter, advance func(time.Duration)) {
	key := ratelimit.Charge{Rule: "key", Key: "k", Limit: ratelimit.PerMinute(60), Cost: 1}
	org := ratelimit.Charge{Rule: "organization", Key: "o", Limit: ratelimit.PerMinute(6), Cost: 2}
	for i := range 3 {
		into, all := takeAll(t, l, key, org)
		if !all || into[0].Remaining != 59-i || into[1].Remaining != 4-2*i {
			t.Fatalf("call %d: %+v, want both allowed, with %d and %d remaining", i+1, into, 59-i, 4-2*i)
		}
	}
	for range 10 { // in both orders
		if into, all := takeAll(t, l, key, org); all || !into[0].Allowed || into[0].Remaining != 57 || into[1].RetryAfter != 20*time.Second {
			t.Fatalf("%+v, want the first allowed with 57 remaining, and the second denied for 20s", into)
		}
		if _, all := takeAll(t, l, org, key); all {
			t.Fatal("a call with a charge to an empty bucket is allowed")
		}
	}
	remains(t, l, key, 57)
	remains(t, l, org, 0)
	advance(20 * time.Second)
	if into, all := takeAll(t, l, org, key); !all || into[0].Remaining != 0 || into[1].Remaining != 59 {
		t.Errorf("after 20s: %+v, want both allowed, with 0 and 59 remaining", into)
	}
	// A denial does not change a new bucket.
	fresh := ratelimit.Charge{Rule: "key", Key: "fresh", Limit: ratelimit.PerMinute(2), Cost: 2}
	if into, all := takeAll(t, l, fresh, org); all || !into[0].Allowed || into[0].Remaining != 2 {
		t.Errorf("%+v, want the first allowed with 2 remaining, and the second denied", into)
	}
	if d := take(t, l, fresh); !d.Allowed {
		t.Errorf("a denied call has taken from the new bucket: %+v", d)
	}
	if d := take(t, l, fresh); d.Allowed {
		t.Errorf("the new bucket admits more than its burst: %+v", d)
	}
}

func noCharges(t *testing.T, l ratelimit.MultiLimiter, _ func(time.Duration)) {
	if err := l.TakeAll(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}

func ownDecisions(t *testing.T, l ratelimit.MultiLimiter, _ func(time.Duration)) {
	slow := ratelimit.Charge{Rule: "slow", Key: "k", Limit: ratelimit.PerHour(1), Cost: 1}
	fast := ratelimit.Charge{Rule: "fast", Key: "k", Limit: ratelimit.PerMinute(10), Cost: 10}
	never := ratelimit.Charge{Rule: "never", Key: "k", Limit: ratelimit.PerMinute(10), Cost: 11}
	peek := ratelimit.Charge{Rule: "peek", Key: "k", Limit: ratelimit.PerMinute(10)}
	take(t, l, slow)
	take(t, l, fast)
	into, _ := takeAll(t, l, peek, slow, never, fast)
	for i, want := range []ratelimit.Decision{
		{Allowed: true, Remaining: 10},
		{RetryAfter: time.Hour},
		{Remaining: 10},
		{RetryAfter: time.Minute},
	} {
		if d := into[i]; d.Allowed != want.Allowed || d.Remaining != want.Remaining || d.RetryAfter != want.RetryAfter {
			t.Errorf("decision %d is %+v, want %+v", i, d, want)
		}
	}
	// Costs of 0 are always allowed.
	slow.Cost, fast.Cost = 0, 0
	if into, all := takeAll(t, l, slow, fast, peek); !all || into[0].Remaining != 0 || into[2].Remaining != 10 {
		t.Errorf("costs of 0: %+v, want all allowed, with 0, 0 and 10 remaining", into)
	}
}

// deniedLimit changes the limit of a bucket in a call that is denied.
func deniedLimit(t *testing.T, l ratelimit.MultiLimiter, advance func(time.Duration)) {
	c := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(10), Cost: 10}
	other := ratelimit.Charge{Rule: "p", Key: "other", Limit: ratelimit.PerMinute(10), Cost: 1}
	take(t, l, c)
	c.Limit, c.Cost = ratelimit.PerHour(10), 1
	for _, retryAfter := range []time.Duration{6 * time.Minute, 5 * time.Minute, 4 * time.Minute} {
		if into, all := takeAll(t, l, other, c); all || into[0].Remaining != 10 || into[1].RetryAfter != retryAfter {
			t.Errorf("%+v, want the second to be denied for %v", into, retryAfter)
		}
		advance(time.Minute)
	}
}

func errorChargesNone(t *testing.T, l ratelimit.MultiLimiter, _ func(time.Duration)) {
	good := ratelimit.Charge{Rule: "p", Key: "k", Limit: ratelimit.PerMinute(10), Cost: 1}
	bad := good
	bad.Key, bad.Cost = "bad", -1
	for _, charges := range [][]ratelimit.Charge{{good, bad}, {bad, good}} {
		if err := l.TakeAll(t.Context(), charges, make([]ratelimit.Decision, 2)); err == nil {
			t.Error("a negative cost is not an error")
		}
	}
	other := good
	other.Key = "other"
	for _, places := range []int{0, 1, 3} {
		if err := l.TakeAll(t.Context(), []ratelimit.Charge{good, other}, make([]ratelimit.Decision, places)); err == nil {
			t.Errorf("two charges and %d decisions are not an error", places)
		}
	}
	dear, slow := good, good
	dear.Cost, slow.Limit = 2, ratelimit.PerHour(10)
	for _, same := range []ratelimit.Charge{good, dear, slow} {
		if err := l.TakeAll(t.Context(), []ratelimit.Charge{good, same}, make([]ratelimit.Decision, 2)); err == nil {
			t.Errorf("two charges to one bucket are not an error: %+v and %+v", good, same)
		}
	}
	remains(t, l, good, 10)
}

// deniedUnseen charges a full bucket together with an empty one, from many goroutines. If
// a limiter charges the full bucket and gives the units back after the denial, other
// goroutines see it empty in between.
func deniedUnseen(t *testing.T, l ratelimit.MultiLimiter, _ func(time.Duration)) {
	full := ratelimit.Charge{Rule: "full", Key: "k", Limit: ratelimit.PerHour(1), Cost: 1}
	empty := ratelimit.Charge{Rule: "empty", Key: "k", Limit: ratelimit.PerHour(1), Cost: 1}
	take(t, l, empty)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			charges, at := []ratelimit.Charge{full, empty}, 0
			if i%2 == 0 {
				charges[0], charges[1], at = empty, full, 1
			}
			into := make([]ratelimit.Decision, 2)
			for range 100 {
				if err := l.TakeAll(t.Context(), charges, into); err != nil {
					t.Error(err)
					return
				}
				if d := into[at]; !d.Allowed || d.Remaining != 1 {
					t.Errorf("the full bucket has been charged: %+v", d)
					return
				}
			}
		})
	}
	wg.Wait()
}

// concurrentSets charges a shared bucket and a bucket of each goroutine, in both orders.
func concurrentSets(t *testing.T, l ratelimit.MultiLimiter, _ func(time.Duration)) {
	shared := ratelimit.Charge{Rule: "shared", Key: "s", Limit: ratelimit.PerHour(100), Cost: 1}
	own := func(i int) ratelimit.Charge {
		return ratelimit.Charge{Rule: "own", Key: strconv.Itoa(i), Limit: ratelimit.PerHour(50), Cost: 1}
	}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			charges := []ratelimit.Charge{own(i), shared}
			if i%2 == 0 {
				charges[0], charges[1] = charges[1], charges[0]
			}
			into := make([]ratelimit.Decision, 2)
			for range 20 {
				if err := l.TakeAll(t.Context(), charges, into); err != nil {
					t.Error(err)
					return
				}
				if into[0].Allowed && into[1].Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 100 {
		t.Errorf("%d calls were admitted, want 100", n)
	}
	taken := 0
	for i := range 32 {
		c := own(i)
		c.Cost = 0
		taken += 50 - take(t, l, c).Remaining
	}
	if taken != 100 {
		t.Errorf("%d units were taken from the goroutines' buckets, want 100", taken)
	}
}

// randomSets charges random costs to random sets of buckets, with limits that change now
// and then, and compares each decision with the bucket.
func randomSets(t *testing.T, l ratelimit.MultiLimiter, advance func(time.Duration)) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 20 {
		buckets := [4]*rational{}
		charge := func(k int) ratelimit.Charge {
			return ratelimit.Charge{Rule: "random", Key: fmt.Sprint(i, k), Limit: buckets[k].limit, Cost: 1}
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
