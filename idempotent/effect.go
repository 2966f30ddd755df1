package idempotent

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// BeginEffect marks the point of no return. Call it right before an effect outside of the
// store's own transaction, such as a charge, an email or a transfer. After it has returned
// nil, the effect happens at most once: if the run then fails or its process crashes, a
// retry is answered 409 idempotency_outcome_unknown and does not run until a [Resolver] has
// settled the record.
//
// If BeginEffect returns an error, the effect must not begin. A handler should return the
// error as it is. It is answered 503 service_unavailable, or 504 timeout if the request's
// deadline has passed. A second call changes nothing. Without a key, BeginEffect returns
// nil and guarantees nothing. With an [Executor] it returns an error that matches
// errors.ErrUnsupported.
func BeginEffect(ctx context.Context) error {
	if n := runFrom(ctx); n != nil {
		return n.beginEffect(ctx, n.storeEffect)
	}
	return nil
}

// BeginEffectWith is like [BeginEffect], but calls begin instead of the store's BeginEffect.
// It is for store packages that make the mark a part of the handler's business transaction,
// so that the effect has begun if and only if the transaction commits. Without a key, it
// returns nil and does not call begin.
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

// FinishWith calls finish with the owner under which a handler runs and the completion that records
// the response. It is for store packages that record the response in the handler's business
// transaction, so that it is recorded if and only if the transaction commits. The handler then
// answers with the same response. It must have a status that is recorded (see [Options].Keep).
// Its body may be longer than [Options].MaxResponse. In a [Do], the response has the status 200,
// and its body is the encoded value. Without a key, FinishWith returns nil and does not call
// finish. With an [Executor], which records the response itself, it returns an error that matches
// errors.ErrUnsupported.
//
// If finish returns [ErrLost], another process has replaced this one. The error is then answered
// 503 service_unavailable, and the context of the run ends with [ErrLeaseLost].
func FinishWith(ctx context.Context, response Response, finish func(context.Context, Owner, Completion) error) error {
	n := runFrom(ctx)
	if n == nil {
		return nil
	}
	if err := n.startFinishing(response.Status); err != nil {
		return err
	}
	response.RequestID = cmp.Or(response.RequestID, reqstate.From(n.caller).RequestID())
	err := finish(ctx, n.owner(), response.Completion(n.opt.Retention))
	if err == nil {
		return nil
	}
	n.stopFinishing() // the transaction must not commit
	switch {
	case errors.Is(err, ErrLost):
		n.cancel(ErrLeaseLost)
		return serviceUnavailable(ErrLeaseLost)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	}
	return serviceUnavailable(fmt.Errorf("idempotent: finishing in the handler's transaction: %w", err))
}

// startFinishing notes that the record may be finished by the task. From then on, a lease that
// cannot be renewed is no reason to stop the task.
func (n *run) startFinishing(status int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.executor != nil:
		return internalError(fmt.Errorf("idempotent: FinishWith with an Executor: %w", errors.ErrUnsupported))
	case n.over:
		return internalError(errLate)
	case !n.opt.Keep(status):
		return internalError(fmt.Errorf("idempotent: FinishWith: a response with the status %d is not recorded (Options.Keep)", status))
	}
	n.finishing++
	return nil
}

func (n *run) stopFinishing() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.finishing--
}

// OwnerOf returns the owner under which a handler runs. It reports false without a key. It is
// for services that keep the ID of the record.
func OwnerOf(ctx context.Context) (Owner, bool) {
	if n := runFrom(ctx); n != nil {
		return n.owner(), true
	}
	return Owner{}, false
}

// Forget frees the key: the response is sent and not kept, whatever its status, and a retry
// runs again. Call it if nothing was done. After [BeginEffect], Forget means that the effect
// did not happen. A later BeginEffect cancels the Forget. Forget does nothing without a key,
// or once a response that is not kept is being sent.
func Forget(ctx context.Context) {
	if n := runFrom(ctx); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.forget = true
	}
}

// Attempt returns the number of this run for its key. It is 1 for the first run, and higher
// if earlier ones were cut off by a crash or a lost lease, so that a handler can look for
// what they left. It is 0 without a key.
func Attempt(ctx context.Context) int {
	if n := runFrom(ctx); n != nil {
		return n.attempt
	}
	return 0
}

// DerivedKey returns an idempotency key for a call to another service: 32 characters, the
// same in every attempt for this key, and different for every name. It does not disclose the
// client's key, unless that key can be guessed: see [Options].Secret. It is empty without a
// key.
func DerivedKey(ctx context.Context, name string) string {
	n := runFrom(ctx)
	if n == nil {
		return ""
	}
	id := n.event.ID
	sum := hashOf(n.opt.Secret, "derived", string(id[:]), name)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// Stream sends the response as it is written, instead of after it is recorded, for a response
// that cannot wait, such as server-sent events. Call it before the first write. The response
// is not kept: a retry is answered 409 idempotency_response_unavailable.
//
// The handler's context then also ends when the client leaves. A Stack's Timeout ends it too,
// unless its NoTimeout exempts the route. Stream does nothing without a key, or with an
// [Executor], whose responses wait for the commit.
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

var errLate = errors.New("idempotent: the run had ended before its effect was begun or its response was recorded")

// beginEffect counts an effect and marks it with begin. It holds no lock while it waits for
// begin. The effect counts as begun even during that wait. If the run ends meanwhile, Finish
// finds out from the store whether it was.
func (n *run) beginEffect(ctx context.Context, begin func(context.Context, Owner) error) error {
	if begun, err := n.countEffect(); begun || err != nil {
		return err
	}
	err := begin(ctx, n.owner())
	if err == nil {
		return nil
	}
	n.mu.Lock()
	n.effects--
	n.mu.Unlock()
	switch {
	case errors.Is(err, ErrLost):
		n.cancel(ErrLeaseLost)
		return serviceUnavailable(ErrLeaseLost)
	case errors.Is(ctx.Err(), context.DeadlineExceeded): // a timeout, as without a key
		return ctx.Err()
	}
	return serviceUnavailable(fmt.Errorf("idempotent: BeginEffect: %w", err))
}

// countEffect counts an effect that is about to begin. It reports true if no effect needs to
// be marked, because the run is already recorded and no retry runs again.
func (n *run) countEffect() (begun bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.executor != nil:
		return false, internalError(fmt.Errorf("idempotent: BeginEffect with an Executor: %w", errors.ErrUnsupported))
	case n.over:
		return false, internalError(errLate)
	case n.recorded:
		return true, nil
	case errors.Is(context.Cause(n.ctx), ErrLeaseLost):
		return false, serviceUnavailable(ErrLeaseLost)
	}
	n.effects++
	n.forget = false
	return false, nil
}

// storeEffect calls the store's BeginEffect.
func (n *run) storeEffect(ctx context.Context, o Owner) error {
	return n.try(ctx, n.opt.StoreTimeout, func(ctx context.Context) error { return n.store.BeginEffect(ctx, o) })
}
