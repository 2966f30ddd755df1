package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
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

	// Slots counts the running requests, so that several servers can share the limit.
	// Two MaxConcurrent with the same Slots and the same Rule count together. If nil, each
	// MaxConcurrent counts its own requests in the memory of the process.
	Slots Slots

	// OnFailure decides how a request is handled if Slots fails. The default is FailLocal,
	// which counts the requests of this process that come while Slots fails.
	OnFailure Fail

	// Processes is the number of processes that share Slots. While Slots fails, FailLocal
	// then lets n/Processes requests of each key, rounded up, run in this process. If zero,
	// it is 1: every process lets n run.
	Processes int

	// Observe is called with the outcome of every request. It must not block, since the
	// request waits for it. If nil, nothing is observed.
	Observe func(context.Context, Event)

	// Logger gets a record when Slots begins to fail, and when it works again: at most two
	// records a minute. The record of the end has the number of requests that failed. If
	// nil, it is slog.Default() at the time of the record.
	Logger *slog.Logger
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
//
// By default, each process counts its own requests. For a limit of a whole fleet, set
// [ConcurrentOptions].Slots.
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
	o.OnFailure.check("ConcurrentOptions.OnFailure")
	if o.Processes < 0 || o.Processes > 1e6 {
		panic("ratelimit: ConcurrentOptions.Processes must be 0 to 1e6")
	}
	rule := cmp.Or(o.Rule, "concurrent")
	c := &concurrent{
		max:         n,
		key:         key,
		skip:        o.Skip,
		keyOptional: o.KeyOptional,
		gate:        newGate(rule, newRefusal(rule), o.RetryAfter, o.Shadow, o.Observe),
		shared:      o.Slots,
		share:       1 + (n-1)/max(o.Processes, 1),
		onFailure:   o.OnFailure,
		logger:      o.Logger,
	}
	return c.wrap
}

type concurrent struct {
	max         int
	key         KeyFunc
	skip        func(*http.Request) bool
	keyOptional bool
	gate        gate
	local       localSlots

	shared    Slots // nil: count with local
	share     int   // the slots of this process if shared fails
	onFailure Fail
	logger    *slog.Logger
	down      outage // shared fails
}

func (c *concurrent) wrap(next http.Handler) http.Handler {
	checkHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.skip != nil && c.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		key, err := keyOf(c.key, r)
		switch {
		case err != nil:
			if c.refuseKey(w, r, err) {
				next.ServeHTTP(w, r)
			}
		case c.shared != nil:
			c.serveShared(w, r, next, key)
		default:
			c.serveLocal(w, r, next, key, c.max, nil)
		}
	})
}

// refuseKey answers a request whose KeyFunc returned err, and reports whether it may go on.
func (c *concurrent) refuseKey(w http.ResponseWriter, r *http.Request, err error) (ok bool) {
	if c.keyOptional && errors.Is(err, ErrNoKey) {
		return true
	}
	outcome, err := keyError(err)
	c.gate.notify(r, outcome, Decision{}, err)
	return c.gate.refuse(w, r, err)
}

// serveLocal serves a request that is counted in this process. err is the error of the
// shared slots, or nil.
func (c *concurrent) serveLocal(w http.ResponseWriter, r *http.Request, next http.Handler, key string, most int, err error) {
	free := c.local.enter(key, most, c.gate.shadow)
	if free || c.gate.shadow {
		defer c.local.leave(key) // also if something panics from here on
	}
	if c.gate.admit(w, r, free, err) {
		next.ServeHTTP(w, r)
	}
}

// serveShared serves a request that is counted by the shared slots.
func (c *concurrent) serveShared(w http.ResponseWriter, r *http.Request, next http.Handler, key string) {
	ctx, logger := r.Context(), cmp.Or(c.logger, slog.Default())
	leave, free, err := c.shared.Enter(ctx, Entry{Rule: c.gate.rule, Key: key, Max: c.max, Shadow: c.gate.shadow})
	if err != nil {
		c.down.logFailure(ctx, logger, slotsName, err)
		if c.onFailure == FailLocal && ctx.Err() == nil {
			c.serveLocal(w, r, next, key, c.share, err)
		} else if c.undecided(w, r, err) {
			next.ServeHTTP(w, r)
		}
		return
	}
	if leave != nil {
		defer leave()
	}
	c.down.logSuccess(ctx, logger, slotsName)
	if c.gate.admit(w, r, free, nil) {
		next.ServeHTTP(w, r)
	}
}

// slotsName is the name of the shared slots in log records.
const slotsName = "the counter of MaxConcurrent"

// undecided answers a request that nothing has counted, and reports whether it may go on.
func (c *concurrent) undecided(w http.ResponseWriter, r *http.Request, err error) (ok bool) {
	if c.onFailure == FailOpen && r.Context().Err() == nil {
		c.gate.notify(r, OutcomeBypassed, Decision{}, err)
		return true
	}
	c.gate.notify(r, OutcomeFailed, Decision{}, err)
	return c.gate.refuse(w, r, failure(r.Context(), err))
}
