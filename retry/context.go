package retry

import "context"

// overrides is what a context changes for the calls that are made with it.
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

// WithPolicy returns a context whose calls follow p instead of the Transport's policy. If
// p has no Budget, the Transport's own applies.
func WithPolicy(ctx context.Context, p *Policy) context.Context {
	o := overridesOf(ctx)
	o.policy = p
	return o.in(ctx)
}

// WithoutRetry returns a context whose calls have one attempt each. A write still gets its
// key, so it can be retried later with [WithIdempotencyKey] and the key from its [Report].
func WithoutRetry(ctx context.Context) context.Context {
	o := overridesOf(ctx)
	o.once = true
	return o.in(ctx)
}

// WithIdempotencyKey returns a context that gives a write its Idempotency-Key. Use it for a key
// that must outlive the process, such as an order's number. A key in the request's header comes
// first. An empty key is ignored. Use the context for one write only: to the server, two writes
// with the same key are a retry or a conflict.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	o := overridesOf(ctx)
	o.key = key
	return o.in(ctx)
}

// WithReport returns a context for one call, and the report that the call will fill in.
func WithReport(ctx context.Context) (context.Context, *Report) {
	o := overridesOf(ctx)
	o.report = new(Report)
	return o.in(ctx), o.report
}
