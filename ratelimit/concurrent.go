package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// ConcurrentOptions are options of [MaxConcurrent].
type ConcurrentOptions struct {
	// Rule is the name in events and in the problem details of a refusal. The default is
	// "concurrent".
	Rule string

	// RetryAfter is what a refused request is told to wait: nobody knows when one of the others
	// ends. It is rounded up to whole seconds. 0 is a second.
	RetryAfter time.Duration

	// Skip exempts requests. Nil exempts none.
	Skip func(*http.Request) bool

	// KeyOptional lets requests without a key through, uncounted. Without it they are refused with
	// 401 authentication_failed.
	KeyOptional bool

	// Shadow lets every request through, and counts it: what would have been refused is only told
	// to Observe.
	Shadow bool

	// Observe is told the outcome of every request; of the Decision, Allowed and RetryAfter are
	// set. Nil is nobody. It must be quick: the request waits for it.
	Observe func(context.Context, Event)
}

// MaxConcurrent returns a middleware that lets n requests of a key run at once, and answers more
// with 429 rate_limit_exceeded: a caller whose requests are few but slow does not keep everyone
// else's from running. The problem type of a refusal is quota-exceeded, as for [New]. Nil options
// are the defaults. It panics if n is not positive or the key is nil.
//
// A request counts until its handler returns, however it does: a panic ends it too, and a hijacked
// connection goes on uncounted. Put it inside of http.TimeoutHandler, which returns while its
// handler may still run. What it keeps is one small entry for each key with a request that runs.
func MaxConcurrent(n int, key KeyFunc, o *ConcurrentOptions) func(http.Handler) http.Handler {
	if n <= 0 {
		panic("ratelimit: MaxConcurrent needs a positive number of requests")
	}
	if key == nil {
		panic("ratelimit: MaxConcurrent has no key")
	}
	if o == nil {
		o = &ConcurrentOptions{}
	}
	name := cmp.Or(o.Rule, "concurrent")
	return (&concurrent{
		max:      n,
		key:      key,
		skip:     o.Skip,
		optional: o.KeyOptional,
		permit:   newPermit(name, newRefusal(name), o.RetryAfter, o.Shadow, o.Observe),
		running:  make(map[string]int),
	}).middleware
}

type concurrent struct {
	max      int
	key      KeyFunc
	skip     func(*http.Request) bool
	optional bool
	permit   permit

	mu      sync.Mutex
	running map[string]int // never 0
}

func (c *concurrent) middleware(next http.Handler) http.Handler {
	checkHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.skip != nil && c.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		key, err := call(c.key, r)
		switch {
		case err == nil:
			c.permit.serve(w, r, next, c.enter(key), func() { c.leave(key) })
		case c.optional && errors.Is(err, ErrNoKey), refuseKey(w, r, c.permit.name, err, c.permit.shadow, c.permit.observe):
			next.ServeHTTP(w, r)
		}
	})
}

// enter counts a request in, if there is room or nothing is to be refused, and reports whether
// there is.
func (c *concurrent) enter(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.running[key]
	if n < c.max || c.permit.shadow {
		c.running[key] = n + 1
	}
	return n < c.max
}

func (c *concurrent) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[key]--; c.running[key] == 0 {
		delete(c.running, key)
	}
}
