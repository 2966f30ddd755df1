package idempotent

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// ErrLeaseLost is the cause with which a handler's context is cancelled (context.Cause) when its claim was taken over, or could not be
// renewed before its lease was over, so that another process may take over. [BeginEffect] returns it too.
var ErrLeaseLost = errors.New("idempotent: the lease was lost")

// BeginEffect marks the point of no return: call it right before an effect outside of the store's own transaction, such as a charge, a
// mail, a transfer. Once it has returned nil, the effect happens at most once: if the handler then fails, or its process
// crashes, a retry is answered 409 idempotency_outcome_unknown, and does not run again until the record is resolved.
//
// When it returns an error, the effect must not begin; the handler returns the error as it is (503 service_unavailable). It
// returns nil for a request without a key, for which nothing is promised. Several calls are one. It is not supported in an [Executor] (errors.ErrUnsupported).
func BeginEffect(ctx context.Context) error {
	if n := runFrom(ctx); n != nil {
		return n.mark(ctx)
	}
	return nil
}

// Attempt is the number of this run of the handler for its key: 1, and more when earlier ones were cut off (a crash, a lost lease), so that a handler can
// look for what they left. It is 0 for a request without a key.
func Attempt(ctx context.Context) int {
	if n := runFrom(ctx); n != nil {
		return n.attempt
	}
	return 0
}

// DerivedKey is an idempotency key for a call to another service: the same in every attempt of this request, and another for every name. It
// does not disclose the client's key. It is "" for a request without a key.
func DerivedKey(ctx context.Context, name string) string {
	n := runFrom(ctx)
	if n == nil {
		return ""
	}
	id := n.lease.ID
	sum := hashOf("derived", string(id[:]), name)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// Stream lets the response go out as it is written, instead of when it is recorded: for responses that cannot wait for their
// end. Call it before the first write. A retry will be answered 409 idempotency_response_unavailable. It does
// nothing for a request without a key and in an [Executor], whose responses wait for the commit.
func Stream(ctx context.Context) {
	if n := runFrom(ctx); n != nil && n.capture.seal != nil {
		n.capture.streamed = true
	}
}

// run is one run of a handler under a claim.
type run struct {
	*middleware
	lease   Lease
	attempt int
	capture capture
	ctx     context.Context
	cancel  context.CancelCauseFunc

	mu     sync.Mutex
	marked bool
	closed bool // the outcome is decided
	sealed bool // it was, and recorded
}

type runKey struct{}

// runContext is the context of a handler.
type runContext struct {
	context.Context
	run *run
}

func (c *runContext) Value(key any) any {
	if _, ok := key.(runKey); ok {
		return c.run
	}
	return c.Context.Value(key)
}

func runFrom(ctx context.Context) *run {
	n, _ := ctx.Value(runKey{}).(*run)
	return n
}

// detach returns ctx without its cancellation, with its deadline.
func (m *middleware) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	if m.CancelOnDisconnect {
		return ctx, func() {}
	}
	deadline, ok := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// unavailable is what a handler may return as it is.
func (n *run) unavailable(cause error) error {
	return apierror.ServiceUnavailable(time.Second).WithCause(cause)
}

func (n *run) mark(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.executor != nil:
		return apierror.Internal(fmt.Errorf("idempotent: BeginEffect within an Executor: %w", errors.ErrUnsupported))
	case n.closed:
		return apierror.Internal(errors.New("idempotent: BeginEffect after the handler has returned"))
	case n.marked:
		return nil
	case errors.Is(context.Cause(n.ctx), ErrLeaseLost):
		return n.unavailable(ErrLeaseLost)
	}
	err := n.try(ctx, n.StoreTimeout, func(ctx context.Context) error { return n.store.Mark(ctx, n.lease) })
	switch {
	case errors.Is(err, ErrLost):
		n.cancel(ErrLeaseLost)
		return n.unavailable(ErrLeaseLost)
	case err != nil:
		return n.unavailable(fmt.Errorf("idempotent: BeginEffect: %w", err))
	}
	n.marked = true
	return nil
}

// close is the end of marking. It tells whether the run was marked.
func (n *run) close() (marked bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return n.marked
}

func (n *run) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// keeper renews a lease until it is stopped. It has a goroutine only while it renews.
type keeper struct {
	run    *run
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	timer   *time.Timer
	until   time.Time // when the lease is over if nothing is heard from the store
	stopped bool
}

// keep starts to renew the run's lease, which began at the given time.
func (n *run) keep(since time.Time) *keeper {
	k := &keeper{run: n, until: since.Add(n.Lease)}
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(n.ctx))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(n.Lease/3, k.renew)
	return k
}

func (k *keeper) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	n, sent := k.run, time.Now()
	err := n.call(k.ctx, func(ctx context.Context) error { return n.store.Renew(ctx, n.lease, n.Lease) })
	now := time.Now()
	switch {
	case err == nil:
		k.until = sent.Add(n.Lease)
		k.timer.Reset(n.Lease / 3)
	case errors.Is(err, ErrLost) || !now.Before(k.until):
		if !n.isClosed() { // else the record is being finished, or was
			n.cancel(ErrLeaseLost)
			n.warn(n.ctx, "idempotent: a lease was lost while the handler ran", n.lease.ID, err)
		}
	default:
		k.timer.Reset(min(n.Lease/10, k.until.Sub(now)))
	}
}

// stop ends the renewals and waits for one that is on its way.
func (k *keeper) stop() {
	k.cancel()
	k.timer.Stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
}
