package retry

import (
	"context"
	"slices"
	"sync"
)

// overrides are what a context says about the calls that are made with it.
type overrides struct {
	policy *Policy
	once   bool
	key    string
	report *Report
}

type overridesKey struct{}

func overridesOf(ctx context.Context) overrides {
	if o, ok := ctx.Value(overridesKey{}).(*overrides); ok {
		return *o
	}
	return overrides{}
}

func (o overrides) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, overridesKey{}, &o)
}

// WithPolicy makes calls with the context follow p instead of the Transport's policy. The Transport's budget still applies if
// p has none of its own.
func WithPolicy(ctx context.Context, p *Policy) context.Context {
	o := overridesOf(ctx)
	o.policy = p
	return o.in(ctx)
}

// WithoutRetry makes calls with the context send one attempt. A write still gets its key, so that it may be repeated later
// with [WithIdempotencyKey] and the key that the [Report] has.
func WithoutRetry(ctx context.Context) context.Context {
	o := overridesOf(ctx)
	o.once = true
	return o.in(ctx)
}

// WithIdempotencyKey gives the write that is made with the context its Idempotency-Key: for one whose key outlives the process,
// such as an order's number. A key in the request's own header comes first. It is for one write: two that share a key are one
// to the server, or a conflict. An empty key is none.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	o := overridesOf(ctx)
	o.key = key
	return o.in(ctx)
}

// WithReport returns a context for one call, and the report of what the call did.
func WithReport(ctx context.Context) (context.Context, *Report) {
	o := overridesOf(ctx)
	o.report = new(Report)
	return o.in(ctx), o.report
}

// A Report tells what a call did that was made with the context of [WithReport], also when it succeeded. After several calls,
// such as a redirect's, it is the last one's. Its methods may be called at any time.
type Report struct {
	mu       sync.Mutex
	attempts []Attempt
	reason   Reason
	key      string
}

// Attempts are those that the call made, the last 100 at most; none while it goes on.
func (r *Report) Attempts() []Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

// Reason is why the call ended, "" while it has not.
func (r *Report) Reason() Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// IdempotencyKey returns the key that was sent last, by a Transport in the function of [Do] too. It
// is empty if there was none.
func (r *Report) IdempotencyKey() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key
}

func (r *Report) set(attempts []Attempt, reason Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts, r.reason = slices.Clone(attempts), reason
}

func (r *Report) setKey(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key = key
}
