package idempotent

import (
	"context"
	"encoding/base64"
)

// BeginEffect marks the point of no return. Call it right before an effect outside of the
// store's own transaction, such as a charge, a mail or a transfer. Once it has returned nil the
// effect happens at most once: if the run then fails, or its process crashes, a retry is
// answered 409 idempotency_outcome_unknown, and does not run until the record is resolved
// ([Resolver]).
//
// If it returns an error, the effect must not begin. A handler returns the error as it is: 503
// service_unavailable. Without a key it returns nil, and nothing is promised. A second call changes
// nothing. In an [Executor] it is not supported (errors.ErrUnsupported).
func BeginEffect(ctx context.Context) error {
	if n := runFrom(ctx); n != nil {
		return n.beginEffect(ctx, n.mark)
	}
	return nil
}

// BeginEffectWith is [BeginEffect] by another function than the store's own, for packages of
// stores that make the mark a part of the handler's business transaction: then the effect has
// begun exactly if the transaction commits, and only the store's record knows. Without a key
// begin is not called.
func BeginEffectWith(ctx context.Context, begin func(context.Context, Owner) error) error {
	n := runFrom(ctx)
	if n == nil {
		return nil
	}
	n.mu.Lock()
	n.shared = true
	n.mu.Unlock()
	return n.beginEffect(ctx, begin)
}

// OwnerOf returns the owner under which a handler runs. It is for packages of stores that finish
// the record in the handler's business transaction, and for services that note the ID of the
// record. It reports false without a key.
func OwnerOf(ctx context.Context) (Owner, bool) {
	if n := runFrom(ctx); n != nil {
		return n.owner(), true
	}
	return Owner{}, false
}

// Forget says that nothing was done: the response goes out and is not kept, whatever its status,
// and a retry runs again. It also holds after [BeginEffect], for a handler that knows that the
// effect did not happen. A BeginEffect that follows cancels it. Without a key it does nothing,
// nor once a response that is not kept has begun to go out.
func Forget(ctx context.Context) {
	if n := runFrom(ctx); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.forget = true
	}
}

// Attempt returns the number of this run for its key: 1, and more if earlier ones were cut off by a
// crash or a lost lease, so that a handler can look for what they left. It is 0 without a key.
func Attempt(ctx context.Context) int {
	if n := runFrom(ctx); n != nil {
		return n.attempt
	}
	return 0
}

// DerivedKey returns an idempotency key for a call to another service: 32 characters, the same
// in every attempt for this key, and another one for every name. It does not disclose the
// client's key. It is empty without a key.
func DerivedKey(ctx context.Context, name string) string {
	n := runFrom(ctx)
	if n == nil {
		return ""
	}
	id := n.event.ID
	sum := hashOf(n.opt.Secret, "derived", string(id[:]), name)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// Stream lets the response go out as it is written, instead of when it is recorded, for
// responses that cannot wait for their end. Call it before the first write. A retry is answered
// 409 idempotency_response_unavailable.
//
// The handler's context ends when the client leaves, and with [Options].MaxRun. A Stack's Timeout
// ends it too, unless its NoTimeout exempts the route. Without a key Stream does nothing, nor in
// an [Executor], whose responses wait for the commit.
func Stream(ctx context.Context) {
	n := runFrom(ctx)
	if n == nil || n.executor != nil {
		return
	}
	n.mu.Lock()
	n.stream = true
	n.mu.Unlock()
	if n.caller.Err() != nil { // the client has left already
		n.callerGone()
	}
}
