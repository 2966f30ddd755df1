package ratelimittest_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// exact is a limiter that computes in rational numbers. It has one of the faults, or
// none.
type exact struct {
	fault   string
	mu      sync.Mutex
	now     time.Duration
	buckets map[[2]string]bucket
	names   map[string]ratelimit.Limit
	denied  map[[2]string]time.Duration // when a denial ends
}

type bucket struct {
	tokens *big.Rat
	limit  ratelimit.Limit
	at     time.Duration
	life   time.Duration // when the bucket may be forgotten, with some of the faults
}

func (e *exact) advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now += d
}

func (e *exact) Take(_ context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	into := make([]ratelimit.Decision, 1)
	err := e.TakeAll(context.Background(), []ratelimit.Charge{c}, into)
	return into[0], err
}

func (e *exact) TakeAll(_ context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if e.fault != "two concurrent calls take the same units" {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	if err := e.check(charges, into); err != nil {
		return err
	}
	if e.fault == "a cost is cut to 32 bits" {
		charges = slices.Clone(charges)
		for i, c := range charges {
			charges[i].Cost = int(uint32(c.Cost))
		}
	}
	all := true
	for i, c := range charges {
		into[i].Allowed = e.allows(c)
		all = all && (into[i].Allowed || i > 0 && e.fault == "only the first of several counts")
	}
	if e.fault == "two concurrent calls take the same units" {
		runtime.Gosched()
	}
	for i, c := range charges {
		take := all && c.Cost != 0
		switch {
		case e.fault == "a peek takes" && c.Cost == 0, e.fault == "a denial takes" && !into[i].Allowed && len(charges) == 1:
			c.Cost, take = 1, true
		case e.fault == "a denial of several takes" && len(charges) > 1 && into[i].Allowed:
			take = true
		case e.fault == "a denial of several gives" && len(charges) > 1 && !all:
			c.Cost, take = -c.Cost, true
		case e.fault == "a peek creates a bucket" && c.Cost == 0 && !e.knows(c),
			e.fault == "a cost over the burst creates a bucket" && c.Cost > burst(c.Limit) && !e.knows(c):
			c.Cost, take = 0, true
		}
		keeps := e.fault == "a denial keeps the old plan" || e.fault == "a denial of several keeps the old plan" && len(charges) > 1
		if !take && c.Cost > 0 && c.Cost <= burst(c.Limit) && !keeps && e.knows(c) {
			c.Cost, take = 0, true // units come back by the new limit from now on
		}
		if take {
			e.put(c)
		}
		if e.fault == "a denial of several loses fractions" && len(charges) > 1 && !all && e.knows(c) {
			b := e.buckets[e.name(c)]
			b.tokens = rat(whole(b.tokens))
			e.buckets[e.name(c)] = b
		}
	}
	for i, c := range charges {
		into[i] = e.decide(c, into[i].Allowed)
	}
	return nil
}

func (e *exact) Adjust(_ context.Context, c ratelimit.Charge) error {
	switch e.fault {
	case "two concurrent calls take the same units":
		return nil // Take alone has this fault
	case "one of two concurrent adjustments is lost":
	default:
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	if err := e.checkAdjust(c); err != nil {
		return err
	}
	name := e.name(c)
	e.race()
	before, known := e.buckets[name]
	tokens := e.tokens(c)
	e.raced()
	if known && e.fault != "an adjustment changes the plan" {
		c.Limit = before.limit
		e.race()
		tokens = e.tokens(c)
		e.raced()
	}
	switch {
	case c.Cost == 0 && (known || e.fault != "an adjustment by 0 creates a bucket"),
		c.Cost < 0 && !known && e.fault != "a refund creates a bucket",
		c.Cost < 0 && tokens.Sign() < 0 && e.fault == "a refund in debt is lost",
		c.Cost > 0 && tokens.Cmp(rat(c.Cost)) < 0 && e.fault == "a debt is not charged":
		return nil
	}
	if e.fault == "an adjustment is cut to the burst" {
		c.Cost = min(c.Cost, burst(c.Limit))
	}
	if e.fault == "one of two concurrent adjustments is lost" {
		runtime.Gosched()
	}
	b := bucket{tokens: tokens.Sub(tokens, rat(c.Cost)), limit: c.Limit, at: e.now}
	b.tokens = least(b.tokens, rat(burst(c.Limit)))
	switch {
	case e.fault == "a debt is cut to an empty bucket" && b.tokens.Sign() < 0:
		b.tokens = rat(0)
	case e.fault == "an adjustment rewinds the clock":
		b.at -= time.Second
	case e.fault == "an adjustment loses fractions":
		b.tokens = rat(whole(b.tokens))
	}
	b.life = e.now + until(burst(c.Limit), b.tokens, c.Limit)
	if e.fault == "a debt does not extend a bucket's life" && known {
		b.life = before.life
	}
	e.race()
	e.buckets[name] = b
	e.raced()
	return nil
}

func (e *exact) checkAdjust(c ratelimit.Charge) error {
	err := c.Limit.Validate()
	if max(c.Cost, -c.Cost) > 1e9 && e.fault != "an adjustment of any size" {
		err = errors.New("too much")
	}
	switch {
	case err != nil && e.fault == "an adjustment of any limit":
		return nil
	case err != nil && e.fault == "an error of an adjustment holds the key":
		return fmt.Errorf("%w: %+v", err, c)
	}
	return err
}

// race and raced lock only a part of Adjust, if concurrent calls must interleave.
func (e *exact) race() {
	if e.fault == "one of two concurrent adjustments is lost" {
		e.mu.Lock()
	}
}

func (e *exact) raced() {
	if e.fault == "one of two concurrent adjustments is lost" {
		e.mu.Unlock()
	}
}

func (e *exact) Reset(_ context.Context, rule, key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := ratelimit.Charge{Rule: rule, Key: key, Limit: ratelimit.PerHour(10)}
	switch e.fault {
	case "a reset does nothing":
	case "a reset empties the bucket":
		e.buckets[e.name(c)] = bucket{tokens: rat(0), limit: c.Limit, at: e.now}
	case "a reset creates a bucket":
		e.buckets[e.name(c)] = bucket{tokens: rat(10), limit: c.Limit, at: e.now}
	case "a reset is of all keys of the rule":
		for name := range e.buckets {
			if name[0] == rule {
				delete(e.buckets, name)
			}
		}
	default:
		delete(e.buckets, e.name(c))
	}
	return nil
}

func (e *exact) Register(rule string, l ratelimit.Limit) error {
	before, known := e.names[rule]
	if known && (before != l && e.fault != "a name may have two limits" || e.fault == "a name may be used once") {
		return errors.New("two limits")
	}
	if e.names == nil {
		e.names = map[string]ratelimit.Limit{}
	}
	e.names[rule] = l
	return nil
}

func (e *exact) check(charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if len(charges) > len(into) || len(charges) < len(into) && e.fault != "into may be too long" {
		return errors.New("lengths differ")
	}
	seen := map[[2]string]bool{}
	for _, c := range charges {
		if err := c.Validate(); err != nil && (c.Cost >= 0 || e.fault != "a negative cost gives") {
			if e.fault == "an error holds the key" {
				err = fmt.Errorf("%w: %+v", err, c)
			}
			return err
		}
		name := e.name(c)
		if e.fault == "one bucket twice with two costs" {
			name[0] += fmt.Sprint(c.Cost, c.Limit)
		}
		if seen[name] {
			return errors.New("two charges of one bucket")
		}
		seen[name] = true
	}
	return nil
}

// oneByOne makes the charges of a TakeAll one by one, and gives them back if one is denied.
type oneByOne struct{ *exact }

func (o oneByOne) TakeAll(ctx context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if err := o.check(charges, into); err != nil {
		return err
	}
	all := true
	for i, c := range charges {
		into[i], _ = o.Take(ctx, c)
		all = all && into[i].Allowed
		runtime.Gosched()
	}
	for i, c := range charges {
		if !all && into[i].Allowed && c.Cost > 0 {
			o.mu.Lock()
			c.Cost = -c.Cost
			o.put(c)
			into[i] = o.decide(c, true)
			o.mu.Unlock()
		}
	}
	return nil
}

func (e *exact) knows(c ratelimit.Charge) bool {
	if e.fault == "two concurrent calls take the same units" {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	_, ok := e.buckets[e.name(c)]
	return ok
}

func (e *exact) put(c ratelimit.Charge) {
	tokens := e.tokens(c)
	if e.fault == "two concurrent calls take the same units" {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	b := bucket{tokens: tokens.Sub(tokens, rat(c.Cost)), limit: c.Limit, at: e.now}
	switch before, ok := e.buckets[e.name(c)]; {
	case e.fault == "the clock ticks every millisecond":
		b.at = e.now.Truncate(time.Millisecond)
	case e.fault == "the clock is kept in 14 digits": // of the microseconds since 1970
		b.at = e.now.Round(100 * time.Microsecond)
	case e.fault == "a denial does not extend a bucket's life" && ok && c.Cost == 0:
		b.life = before.life
	default:
		b.life = e.now + until(burst(c.Limit), b.tokens, c.Limit)
	}
	e.buckets[e.name(c)] = b
}

func (e *exact) name(c ratelimit.Charge) [2]string {
	switch {
	case e.fault == "rule and key run together":
		return [2]string{c.Rule + c.Key}
	case e.fault == "a key is cut to 255 bytes" && len(c.Key) > 255:
		c.Key = c.Key[:255]
	case e.fault == "spaces at the end of a key are cut":
		c.Key = strings.TrimRight(c.Key, " ")
	}
	return [2]string{c.Rule, c.Key}
}

func (e *exact) allows(c ratelimit.Charge) bool {
	if c.Cost > burst(c.Limit) {
		return e.fault == "a cost over the burst is taken"
	}
	if c.Cost > 0 && e.now < e.denied[e.name(c)] {
		return false
	}
	return c.Cost == 0 || e.tokens(c).Cmp(rat(c.Cost)) >= 0
}

// tokens returns what the bucket of a charge holds.
func (e *exact) tokens(c ratelimit.Charge) *big.Rat {
	if e.fault == "two concurrent calls take the same units" {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	b, ok := e.buckets[e.name(c)]
	switch e.fault {
	case "a bucket is forgotten when it is full by its last plan", "a denial does not extend a bucket's life", "a debt does not extend a bucket's life":
		ok = ok && e.now < b.life
	}
	if !ok {
		return rat(burst(c.Limit))
	}
	now := e.now
	if e.fault == "the clock ticks every millisecond" {
		now = now.Truncate(time.Millisecond)
	}
	back := new(big.Rat).SetFrac64(int64(now-b.at), int64(b.limit.Window))
	back.Mul(back, rat(b.limit.Quota))
	switch e.fault {
	case "nothing comes back":
		back = rat(0)
	case "integers overflow":
		back.SetInt64(int64(now-b.at) * int64(b.limit.Quota) / int64(b.limit.Window))
	}
	tokens := back.Add(back, b.tokens)
	if e.fault != "more than the burst comes back" {
		tokens = least(tokens, rat(burst(b.limit)))
	}
	switch {
	case b.limit != c.Limit && e.fault == "a new plan fills the bucket":
		return rat(burst(c.Limit))
	case b.limit != c.Limit && e.fault == "a new plan empties the bucket":
		return rat(0)
	case e.fault == "more than the burst comes back":
		return tokens
	}
	return least(tokens, rat(burst(c.Limit)))
}

func (e *exact) decide(c ratelimit.Charge, allowed bool) ratelimit.Decision {
	tokens := e.tokens(c)
	d := ratelimit.Decision{Allowed: allowed, Limit: c.Limit, Remaining: max(whole(tokens), 0)}
	d.ResetAfter = until(burst(c.Limit), tokens, c.Limit)
	d.RefillAfter = min(until(d.Remaining+1, tokens, c.Limit), d.ResetAfter)
	if !allowed && c.Cost <= burst(c.Limit) {
		wait := until(c.Cost, tokens, c.Limit)
		up := wait + time.Second - 1
		switch e.fault {
		case "Retry-After is rounded down":
			up = wait
		case "Retry-After is rounded up twice":
			up += time.Second
		}
		d.RetryAfter = max(up.Truncate(time.Second), time.Second)
		if e.fault == "a denial is remembered for every plan" && c.Cost == 1 && e.now >= e.denied[e.name(c)] {
			e.denied[e.name(c)] = e.now + wait
		}
	}
	return d
}

// until returns the time until the bucket holds n, rounded up.
func until(n int, tokens *big.Rat, l ratelimit.Limit) time.Duration {
	missing := new(big.Rat).Sub(rat(n), tokens)
	missing.Mul(missing, new(big.Rat).SetFrac64(int64(l.Window), int64(l.Quota)))
	up := new(big.Int).Add(missing.Num(), new(big.Int).Sub(missing.Denom(), big.NewInt(1)))
	return max(time.Duration(up.Div(up, missing.Denom()).Int64()), 0)
}

func burst(l ratelimit.Limit) int {
	if l.Burst == 0 {
		return l.Quota
	}
	return l.Burst
}

func whole(r *big.Rat) int { return int(new(big.Int).Div(r.Num(), r.Denom()).Int64()) }

func rat(n int) *big.Rat { return new(big.Rat).SetInt64(int64(n)) }

func least(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
