package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// ConcurrentOptions configure [MaxConcurrent]. Nil and the zero value are the defaults.
type ConcurrentOptions struct {
	// Rule is the name in events and in the problem details of a refusal. If empty, it is
	// "concurrent".
	Rule string

	// RetryAfter is the wait that a refused client is asked for, rounded up to whole
	// seconds. If zero, it is a second. It must not be negative.
	RetryAfter time.Duration

	// Skip exempts a request. If nil, no request is exempt.
	Skip func(*http.Request) bool

	// KeyOptional exempts requests without a key. If false, they are refused with 401
	// authentication_failed.
	KeyOptional bool

	// Shadow lets every request through, but still counts the running ones. Observe
	// reports which requests would have been refused.
	Shadow bool

	// Observe is called with the outcome of every request. It must not block, since the
	// request waits for it. If nil, nothing is observed.
	Observe func(context.Context, Event)
}

// MaxConcurrent returns a middleware that lets n requests of each key run at the same
// time. Further requests are answered with 429 rate_limit_exceeded. So a caller with slow
// requests cannot take all of the server's resources. The problem type of a refusal is
// quota-exceeded, as for [New]. MaxConcurrent panics if n is not positive, if key is nil,
// or if an option is invalid.
//
// A request holds its slot until its handler returns or panics. A hijacked connection
// holds no slot after that. Put MaxConcurrent inside http.TimeoutHandler, not around it,
// since a TimeoutHandler may return while its handler still runs. MaxConcurrent keeps a
// small entry for each key that has a running request.
func MaxConcurrent(n int, key KeyFunc, o *ConcurrentOptions) func(http.Handler) http.Handler {
	if n <= 0 {
		panic("ratelimit: MaxConcurrent needs a positive number of requests")
	}
	if key == nil {
		panic("ratelimit: MaxConcurrent without a key")
	}
	if o == nil {
		o = &ConcurrentOptions{}
	}
	rule := cmp.Or(o.Rule, "concurrent")
	c := &concurrent{
		max:         n,
		key:         key,
		skip:        o.Skip,
		keyOptional: o.KeyOptional,
		slots:       newSlots(rule, newRefusal(rule), o.RetryAfter, o.Shadow, o.Observe),
		held:        make(map[string]int),
	}
	return c.wrap
}

type concurrent struct {
	max         int
	key         KeyFunc
	skip        func(*http.Request) bool
	keyOptional bool
	slots       slots

	mu   sync.Mutex
	held map[string]int // the slots that each key holds; keys that hold none are not in it
}

func (c *concurrent) wrap(next http.Handler) http.Handler {
	checkHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.skip != nil && c.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		key, err := keyOf(c.key, r)
		if err != nil {
			if c.refuseKey(w, r, err) {
				next.ServeHTTP(w, r)
			}
			return
		}
		free := c.enter(key)
		if free || c.slots.shadow {
			defer c.leave(key) // also if something panics from here on
		}
		if c.slots.admit(w, r, free) {
			next.ServeHTTP(w, r)
		}
	})
}

// refuseKey answers a request whose KeyFunc returned err, and reports whether it may go on.
func (c *concurrent) refuseKey(w http.ResponseWriter, r *http.Request, err error) (ok bool) {
	if c.keyOptional && errors.Is(err, ErrNoKey) {
		return true
	}
	outcome, err := keyError(err)
	if c.slots.observe != nil {
		c.slots.observe(r.Context(), Event{Rule: c.slots.rule, Outcome: outcome, Shadow: c.slots.shadow, Err: err})
	}
	if !c.slots.shadow {
		apierror.Write(w, r, err)
	}
	return c.slots.shadow
}

// enter takes a slot of the key, and reports whether one was free. In shadow mode it
// takes one in any case.
func (c *concurrent) enter(key string) (free bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.held[key]
	free = n < c.max
	if free || c.slots.shadow {
		c.held[key] = n + 1
	}
	return free
}

func (c *concurrent) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[key]--; c.held[key] == 0 {
		delete(c.held, key)
	}
}
