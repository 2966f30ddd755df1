package idempotent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// run is one run of the handler under the request's claim.
type run struct {
	*request
	attempt int
	capture capture
	ctx     runContext
	cancel  context.CancelCauseFunc

	mu     sync.Mutex
	marked bool
	sealed bool // the record is, while the handler runs on
	closed bool // the outcome is decided

	keeper  keeper
	outcome Outcome
	refusal error // is answered in place of the handler's response
}

// runContext is the handler's context.
type runContext struct {
	context.Context
	run *run
}

type runKey struct{}

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

// newRun prepares a run. The caller must call its cancel.
func (q *request) newRun(ctx context.Context, attempt int) *run {
	q.stopWaiting()
	q.event.Attempt = attempt
	q.event.Result = RanReleased // if nothing else is decided: a panic rolls an Executor back
	ctx, cancel := context.WithCancelCause(ctx)
	n := &run{
		request: q,
		attempt: attempt,
		cancel:  cancel,
		capture: capture{
			w:         q.w,
			header:    make(http.Header),
			requestID: reqstate.From(ctx).RequestID(),
			limit:     q.MaxResponse,
		},
	}
	n.ctx = runContext{ctx, n}
	return n
}

// handle calls the handler and decides what its end means.
func (n *run) handle() {
	r := n.r.WithContext(&n.ctx)
	r.Body = &n.body
	c := &n.capture
	reqstate.ServeAgain(n.next, c, n.r, r)

	silent, refused := c.status == 0, c.err != nil && !c.through
	whole := c.close()
	n.event.Status = c.status
	keep := !n.body.broken && n.Keep(c.status)
	switch {
	case refused: // by seal: the claim was lost, and the response with it
		n.refusal = apierror.IdempotencyResponseUnavailable().WithCause(ErrLeaseLost)
		n.decide(n.sealedOutcome())
	case silent && errors.Is(context.Cause(&n.ctx), ErrLeaseLost):
		n.refusal = unavailable(ErrLeaseLost)
		n.fail()
	case silent && n.ctx.Err() != nil:
		n.refusal = n.ctx.Err() // nothing was written because time was up: that is no empty success
		n.fail()
	case !whole && !c.through:
		n.refusal = apierror.Internal(errShort)
		n.fail()
	case !keep:
		n.fail()
	case c.through || c.over(0): // the latter in an Executor, where nothing goes out before the end
		n.decide(n.sealedOutcome())
	default:
		n.decide(Outcome{State: Done, Record: c.sum(), Retention: n.Retention, owned: n.instant})
	}
}

// fail decides that the response is not kept.
func (n *run) fail() {
	switch marked := n.close(); {
	case n.sealed: // and has gone out
		n.outcome = n.sealedOutcome()
	case marked:
		n.outcome = Outcome{State: Unknown, Retention: n.Retention}
	default:
		n.outcome = Outcome{State: Released}
	}
}

func (n *run) decide(o Outcome) {
	n.close()
	n.outcome = o
}

// close is the end of marking. It tells whether the run was marked.
func (n *run) close() (marked bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return n.marked
}

// done tells whether the record is finished, or about to be, so that there is no lease to lose.
func (n *run) done() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed || n.sealed
}

// mark is BeginEffect.
func (n *run) mark(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.executor != nil:
		return apierror.Internal(fmt.Errorf("idempotent: BeginEffect within an Executor: %w", errors.ErrUnsupported))
	case n.closed:
		return apierror.Internal(errLate)
	case n.marked || n.sealed: // the latter is not run again either
		return nil
	case errors.Is(context.Cause(&n.ctx), ErrLeaseLost):
		return unavailable(ErrLeaseLost)
	}
	err := n.try(ctx, n.StoreTimeout, func(ctx context.Context) error { return n.store.Mark(ctx, n.lease()) })
	switch {
	case errors.Is(err, ErrLost):
		n.cancel(ErrLeaseLost)
		return unavailable(ErrLeaseLost)
	case err != nil:
		return unavailable(fmt.Errorf("idempotent: BeginEffect: %w", err))
	}
	n.marked = true
	return nil
}

// unavailable is an error that a handler may return as it is.
func unavailable(cause error) error { return apierror.ServiceUnavailable(soon()).WithCause(cause) }

// seal records a response before it goes out, as one that is not kept. Its error stops the response.
func (n *run) seal() error {
	if n.body.broken || !n.Keep(n.capture.status) {
		return nil
	}
	err := n.finish(n.sealedOutcome())
	switch {
	case errors.Is(err, ErrLost):
		n.cancel(ErrLeaseLost)
		return ErrLeaseLost
	case err != nil:
		n.warn("idempotent: a response is sent that could not be sealed", err)
		return nil // it is tried again when the handler has returned
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sealed = true
	return nil
}

// sealedOutcome holds the status and the Location.
func (n *run) sealedOutcome() Outcome {
	h := make(http.Header)
	if l := n.capture.location; l != "" && len(l) <= maxLocation {
		h.Set("Location", l)
	}
	b, _ := newHead(n.capture.status, n.capture.requestID, h)
	return Outcome{State: Sealed, Record: appendSum(b), Retention: n.Retention}
}
