package idempotent

import (
	"context"
	"errors"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// maxLocation bounds the Location in a sealed record, which must be small: a store never refuses it.
const maxLocation = 1 << 10

var (
	errLeaderFailed = errors.New("idempotent: the first request with this key failed while this one waited")
	errLeaderGone   = errors.New("idempotent: the first request with this key ended without an answer")
	errShort        = errors.New("idempotent: the handler wrote less, or more, than its Content-Length")
	errLate         = errors.New("idempotent: BeginEffect after the handler has returned")
	errUnknown      = errors.New("idempotent: whether it took effect is not known; the key is refused until the record is resolved")
	errNotRun       = errors.New("idempotent: the Executor acquired, and did not run the handler")
)

// own runs the handler under the claim that was acquired, and records how it ended. It tells whether that could be decided:
// false is that the claim was lost.
func (q *request) own(attempt int, asked time.Time) (decided bool) {
	switch {
	case q.ran != nil: // the claim was lost, and is back
		return q.settle()
	case q.waited && attempt == 1:
		// The one that this one waited for has released the key. To run now would be to run once per waiter what fails.
		if err := q.finish(Outcome{State: Released}); err != nil {
			q.warn("idempotent: a claim could not be released", err)
		}
		q.land(Verdict{State: Released}, nil)
		return true
	}
	ctx, cancel := q.detach()
	defer cancel()
	n := q.newRun(ctx, attempt)
	defer n.cancel(nil)
	n.capture.seal = n
	if !q.instant {
		n.keeper.start(n, asked)
		defer n.keeper.stop()
	}
	defer func() {
		if q.ran == nil { // a panic or runtime.Goexit, which goes on up
			n.fail()
			q.ran = n
			q.settle()
		}
	}()
	if !q.AtMostOnce {
		n.handle()
	} else if n.refusal = n.mark(&n.ctx); n.refusal == nil {
		n.handle()
	} else {
		n.fail()
	}
	q.ran = n
	return q.settle()
}

// execute lets the store run the handler.
func (q *request) execute() (Verdict, error) {
	ctx, cancel := q.detach()
	defer cancel()
	v, err := q.executor.Execute(ctx, q.claim(), func(ctx context.Context, attempt int) Outcome {
		n := q.newRun(ctx, attempt)
		defer n.cancel(nil)
		n.handle()
		q.ran = n
		return n.outcome
	})
	if err == nil && v.State == Acquired {
		if q.ran == nil {
			return v, errNotRun
		}
		q.decided(nil)
	}
	return v, err
}

// detach returns the request's context without its cancellation, with its deadline.
func (q *request) detach() (context.Context, context.CancelFunc) {
	ctx, cancel := q.r.Context(), func() {}
	if q.CancelOnDisconnect {
		return ctx, cancel
	}
	deadline, ok := ctx.Deadline()
	if ctx = context.WithoutCancel(ctx); ok {
		return context.WithDeadline(ctx, deadline)
	}
	return ctx, cancel
}

// settle records the outcome of the run. It tells whether that is the end of it: false is that the claim was lost.
func (q *request) settle() (decided bool) {
	n := q.ran
	var err error
	if !n.sealed {
		err = q.finish(n.outcome)
	}
	if n.outcome.State == Done && errors.Is(err, ErrFull) {
		err = q.finish(n.sealedOutcome())
	}
	if errors.Is(err, ErrLost) {
		q.event.Lost = true
		q.warn("idempotent: a claim was lost while the handler ran", err)
		if !n.capture.through {
			return false
		}
		// Its own client has this answer already. Those who wait ask for the other one's.
		q.event.Result, q.event.Err = RanUnrecorded, err
		q.land(Verdict{State: InFlight}, nil)
		return true
	}
	q.decided(err)
	return true
}

// decided tells those who wait how the run has ended: they get what the first client gets, also when the store, by err,
// does not know of it.
func (q *request) decided(err error) {
	o := q.ran.outcome
	q.land(Verdict{State: o.State, Record: o.Record}, nil)
	switch o.State {
	case Done:
		q.event.Result = Executed
	case Sealed:
		q.event.Result = RanSealed
	case Unknown:
		q.event.Result = RanUnknown
		q.warn("idempotent: a request failed after its point of no return", errUnknown)
	default:
		q.event.Result = RanReleased
	}
	if err != nil {
		q.event.Result, q.event.Err = RanUnrecorded, err
		q.warn("idempotent: the outcome of a request could not be recorded", err)
	}
}

// finish tells the store, whatever becomes of the request's context.
func (q *request) finish(o Outcome) error {
	return q.try(q.detached(), 3*q.StoreTimeout, func(ctx context.Context) error {
		return q.store.Finish(ctx, q.lease(), o)
	})
}

// reply sends the handler's own response, once it is recorded.
func (q *request) reply() {
	n := q.ran
	switch {
	case n == nil: // this request did not run: it met a released key
		q.answer(Verdict{State: Released}, nil)
	case n.refusal != nil:
		apierror.Write(q.w, q.r, n.refusal)
	case !n.capture.through:
		rec := n.capture.record()
		send(q.w, &rec, n.capture.extra)
	}
}
