package idempotent

import (
	"context"
	"encoding/base64"
)

// BeginEffect marks the point of no return: call it right before an effect outside of the store's own transaction, such as a
// charge, a mail, a transfer. Once it has returned nil, the effect happens at most once: if the handler then fails, or its
// process crashes, a retry is answered 409 idempotency_outcome_unknown, and does not run again until the record is resolved
// ([Resolver]).
//
// When it returns an error, the effect must not begin; the handler returns the error as it is (503 service_unavailable). It
// returns nil for a request without a key, for which nothing is promised. Several calls are one. It is not supported in an
// [Executor] (errors.ErrUnsupported).
func BeginEffect(ctx context.Context) error {
	if n := runFrom(ctx); n != nil {
		return n.mark(ctx)
	}
	return nil
}

// Attempt is the number of this run of the handler for its key: 1, and more when earlier ones were cut off (a crash, a lost
// lease), so that a handler can look for what they left. It is 0 for a request without a key.
func Attempt(ctx context.Context) int {
	if n := runFrom(ctx); n != nil {
		return n.attempt
	}
	return 0
}

// DerivedKey is an idempotency key for a call to another service: 32 characters, the same in every attempt of this request,
// and another for every name. It does not disclose the client's key. It is "" for a request without a key.
func DerivedKey(ctx context.Context, name string) string {
	n := runFrom(ctx)
	if n == nil {
		return ""
	}
	id := n.event.ID
	sum := hashOf("derived", string(id[:]), name)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// Stream lets the response go out as it is written, instead of when it is recorded: for responses that cannot wait for their
// end. Call it before the first write. A retry will be answered 409 idempotency_response_unavailable. It does nothing for a
// request without a key, and in an [Executor], whose responses wait for the commit.
func Stream(ctx context.Context) {
	if n := runFrom(ctx); n != nil {
		n.capture.streamed = true
	}
}
