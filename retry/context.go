package retry

import "context"

// overrides are the settings that a context changes for the calls that are made with it.
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

// WithPolicy returns a context whose calls follow p instead of the Transport's policy. If p
// has no Budget, the Transport's default budget applies, even if Transport.Policy has a
// Budget.
func WithPolicy(ctx context.Context, p *Policy) context.Context {
	o := overridesOf(ctx)
	o.policy = p
	return o.in(ctx)
}

// WithoutRetry returns a context whose calls have one attempt each. A write still gets
// its key. To retry the write later, use [WithIdempotencyKey] with the key from its
// [Report].
//
// net/http sends a request with a key once more if its connection dies before the response
// begins. For a write that must be sent only once, to a server that does not honor keys, use
// [WithPolicy] with MaxAttempts 1 and [KeysCallerOnly] instead.
func WithoutRetry(ctx context.Context) context.Context {
	o := overridesOf(ctx)
	o.once = true
	return o.in(ctx)
}

// WithIdempotencyKey returns a context that gives a write its Idempotency-Key. Use it for
// a key that must outlive the process, such as an order's number. If the request's header
// has a key, that key is used instead. An empty key is ignored. Use the context for one
// write only. The server treats two writes with the same key as a retry or as a conflict.
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
