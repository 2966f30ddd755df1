package limits

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

const (
	processes = 3
	timeout   = 200 * time.Millisecond // of a decision: the machine may be busy
	maxCost   = 4
)

// The limits of the rules. The burst of a key is at least the cost of a request times the
// processes, so that the share of a process never goes into debt.
var (
	keyLimit   = ratelimit.Limit{Quota: 20, Window: time.Second, Burst: 15}
	allLimit   = ratelimit.Limit{Quota: 40, Window: time.Second, Burst: 30}
	aloneLimit = ratelimit.Limit{Quota: 4, Window: 3 * time.Second, Burst: 3}
)

// An arm is a route of the service, with its own limits. Its rules are called as the arm, for
// each key, and as the arm with " all" for its keys together.
type arm struct {
	name string
	want promise
	keys int // that its clients use

	clients int // of each key; 0 is 3

	alone    bool           // whether each key has one client, which waits as it is told
	settled  bool           // whether all of the cost but a unit is given back
	fail     ratelimit.Fail // of the middleware
	shares   int            // Processes of the middleware
	bug      string         // what is planted; empty in a real arm
	tampered func(l *redislimit.Limiter) ratelimit.Limiter
}

// A promise is what the checker demands of an arm. In an arm with a bug, it is not what the
// middleware does.
type promise struct {
	fail   ratelimit.Fail
	shares int
}

// arms returns the arms, which are the same in all processes.
func arms() []*arm {
	local, open, closed := ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed
	list := []*arm{
		{name: "share", keys: 3, want: promise{local, processes}},
		{name: "local", keys: 3, want: promise{local, 1}},
		{name: "open", keys: 3, want: promise{open, 1}},
		{name: "closed", keys: 3, want: promise{closed, 1}},
		{name: "settled", keys: 2, want: promise{closed, 1}, settled: true},
		{name: "alone", keys: 6, want: promise{closed, 1}, alone: true},
	}
	for _, a := range list {
		a.fail, a.shares = a.want.fail, a.want.shares
	}
	return append(list,
		&arm{
			name: "bug1", keys: 1, want: promise{closed, 1}, fail: closed, bug: "a lost reply is taken for an admission",
			tampered: func(l *redislimit.Limiter) ratelimit.Limiter { return admitsLost{l} },
		},
		&arm{
			name: "bug2", keys: 1, want: promise{local, processes}, fail: local, shares: 1,
			bug: "the local limiter of each process allows the whole limit",
		},
		&arm{name: "bug3", keys: 1, want: promise{closed, 1}, fail: open, bug: "the middleware fails open instead of closed"},
		&arm{
			name: "bug4", keys: 1, want: promise{closed, 1}, fail: closed, settled: true, bug: "a refund is given twice",
			tampered: func(l *redislimit.Limiter) ratelimit.Limiter { return refundsTwice{l} },
		},
		&arm{
			name: "bug5", keys: 1, want: promise{closed, 1}, fail: closed, clients: 8, bug: "a decision is a read and then a write",
			tampered: func(l *redislimit.Limiter) ratelimit.Limiter { return notAtomic{l} },
		},
		&arm{
			name: "bug6", keys: 1, want: promise{closed, 1}, fail: closed, bug: "a denial is remembered for too long",
			tampered: func(l *redislimit.Limiter) ratelimit.Limiter { return &remembers{Limiter: l} },
		},
		&arm{
			name: "bug7", keys: 3, want: promise{closed, 1}, fail: closed, alone: true, bug: "Retry-After is a second too short",
			tampered: func(l *redislimit.Limiter) ratelimit.Limiter { return hasty{l} },
		},
	)
}

func (a *arm) limit() ratelimit.Limit {
	if a.alone {
		return aloneLimit
	}
	return keyLimit
}

// several reports whether the arm has a rule for its keys together.
func (a *arm) several() bool { return a.bug == "" && !a.alone && !a.settled }

func (a *arm) rules() []ratelimit.Rule {
	rules := []ratelimit.Rule{{
		Name: a.name, Limit: a.limit(), Key: ratelimit.ByHeader(headerKey), Cost: costOf, Settled: a.settled,
	}}
	if a.several() {
		rules = append(rules, ratelimit.Rule{
			Name: a.name + allSuffix, Limit: allLimit, Cost: costOf,
			Key: func(*http.Request) (string, error) { return "all", nil },
		})
	}
	return rules
}

const allSuffix = " all"

func limitOf(a *arm, rule string) ratelimit.Limit {
	if strings.HasSuffix(rule, allSuffix) {
		return allLimit
	}
	return a.limit()
}

// takesOne is the Take of a limiter whose TakeAll has a bug.
func takesOne(ctx context.Context, l ratelimit.MultiLimiter, c ratelimit.Charge) (ratelimit.Decision, error) {
	var into [1]ratelimit.Decision
	err := l.TakeAll(ctx, []ratelimit.Charge{c}, into[:])
	return into[0], err
}

type admitsLost struct{ *redislimit.Limiter }

func (l admitsLost) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	d, err := takesOne(ctx, l.Limiter, c)
	if err != nil {
		return ratelimit.Decision{Allowed: true, Limit: c.Limit, Remaining: 1}, nil //nolint:nilerr // the bug
	}
	return d, nil
}

type refundsTwice struct{ *redislimit.Limiter }

func (l refundsTwice) Adjust(ctx context.Context, c ratelimit.Charge) error {
	if err := l.Limiter.Adjust(ctx, c); err != nil {
		return err
	}
	return l.Limiter.Adjust(ctx, c)
}

type notAtomic struct{ *redislimit.Limiter }

func (l notAtomic) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	cost := c.Cost
	c.Cost = 0
	d, err := l.Limiter.Take(ctx, c)
	if err != nil {
		return d, err
	}
	c.Cost = cost
	if d.Remaining < cost {
		d.Allowed = false
		return d, nil
	}
	return d, l.Adjust(ctx, c)
}

type remembers struct {
	*redislimit.Limiter

	mu     sync.Mutex
	denied time.Time
}

func (l *remembers) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.denied) < 2*time.Second {
		return ratelimit.Decision{Limit: c.Limit, RetryAfter: time.Second}, nil
	}
	d, err := l.Limiter.Take(ctx, c)
	if err == nil && !d.Allowed {
		l.denied = time.Now()
	}
	return d, err
}

type hasty struct{ *redislimit.Limiter }

func (l hasty) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	d, err := l.Limiter.Take(ctx, c)
	if d.RetryAfter > time.Second {
		d.RetryAfter -= time.Second
	}
	return d, err
}
