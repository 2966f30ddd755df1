package idempotent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// maxLocation bounds the Location in a sealed record, which must be small: a store never refuses it.
const maxLocation = 1 << 10

var (
	errLeaderFailed = errors.New("idempotent: the first request with this key failed while this one waited")
	errShort        = errors.New("idempotent: the handler wrote less, or more, than its Content-Length")
	errLeaderGone   = errors.New("idempotent: the first request with this key ended without an answer")
	errNotRun       = errors.New("idempotent: the Executor acquired, and did not run the handler")
)

// ended is a run that is over.
type ended struct {
	*run
	outcome Outcome
	refusal error // is answered instead of the handler's response
}

// own runs the handler under the claim that was acquired, and records how it ended. It tells whether that could be decided: false is
// that the claim was lost.
func (q *request) own(f *flight, attempt int, since time.Time) (decided bool) {
	switch {
	case q.ended != nil: // the claim was lost, and is back
		return q.settle(f)
	case q.waited && attempt == 1:
		// The one that this one waited for has released the key. To run now would be to run once per waiter what fails.
		if err := q.finish(Outcome{State: Released}); err != nil {
			q.warn(q.r.Context(), "idempotent: a claim could not be released", q.claim.ID, err)
		}
		q.flights.end(f, Verdict{State: Released}, nil)
		return true
	}
	ctx, cancel := q.detach(q.r.Context())
	defer cancel()
	n := q.newRun(ctx, attempt)
	defer n.cancel(nil)
	n.capture.seal = func(status int, location string) error { return q.seal(n, status, location) }
	k := n.keep(since)
	defer k.stop()
	defer func() {
		if q.ended == nil { // a panic or runtime.Goexit, which goes on up
			q.ended = &ended{run: n, outcome: q.failure(n)}
			q.settle(f)
		}
	}()
	if q.AtMostOnce {
		if err := n.mark(n.ctx); err != nil {
			q.ended = &ended{run: n, outcome: q.failure(n), refusal: err}
			return q.settle(f)
		}
	}
	q.ended = q.handle(n)
	return q.settle(f)
}

// execute lets the store run the handler. When it has run, the request is answered.
func (q *request) execute(ctx context.Context, f *flight) (Verdict, error) {
	ctx, cancel := q.detach(ctx)
	defer cancel()
	v, err := q.executor.Execute(ctx, q.claim, func(ctx context.Context, attempt int) Outcome {
		n := q.newRun(ctx, attempt)
		defer n.cancel(nil)
		q.ended = q.handle(n)
		return q.ended.outcome
	})
	if err == nil && v.State == Acquired {
		if q.ended == nil {
			return v, errNotRun
		}
		q.decided(f, nil)
	}
	return v, err
}

func (q *request) newRun(ctx context.Context, attempt int) *run {
	q.event.Attempt, q.event.Waited = attempt, time.Since(q.started)
	n := &run{middleware: q.middleware, lease: q.claim.Own(), attempt: attempt}
	ctx, n.cancel = context.WithCancelCause(ctx)
	n.ctx = &runContext{ctx, n}
	n.capture = capture{
		w:         q.w,
		header:    make(http.Header),
		requestID: reqstate.From(ctx).RequestID(),
		limit:     q.MaxResponse,
	}
	return n
}

// handle calls the handler and decides what its end means.
func (q *request) handle(n *run) *ended {
	r := q.r.WithContext(n.ctx)
	r.Body = &q.body
	c := &n.capture
	q.next.ServeHTTP(c, r)

	silent, refused := c.status == 0, c.err
	whole := c.close()
	q.event.Status = c.status
	e := &ended{run: n}
	switch {
	case refused != nil && !c.through: // by seal: the claim was lost, and the response with it
		n.close()
		e.outcome = q.sealed(c.status, c.header.Get("Location"))
		e.refusal = apierror.IdempotencyResponseUnavailable().WithCause(refused)
		return e
	case silent && errors.Is(context.Cause(n.ctx), ErrLeaseLost):
		e.refusal = n.unavailable(ErrLeaseLost)
	case silent && n.ctx.Err() != nil:
		e.refusal = n.ctx.Err() // nothing was written because time was up: that is no empty success
	case !whole && !c.through:
		e.refusal = apierror.Internal(errShort)
	case !c.through && c.over(0) && !q.body.broken && q.Keep(c.status): // an Executor's: nothing went out before
		n.close()
		e.outcome = q.sealed(c.status, c.header.Get("Location"))
		return e
	case !c.through && !q.body.broken && q.Keep(c.status):
		n.close()
		c.buf = appendSum(c.buf)
		e.outcome = Outcome{State: Done, Record: c.buf, Retention: q.Retention}
		return e
	}
	e.outcome = q.failure(n)
	return e
}

// failure is the outcome of a run whose response is not kept.
func (q *request) failure(n *run) Outcome {
	marked := n.close()
	c := &n.capture
	switch {
	case (c.through || n.sealed) && !q.body.broken && q.Keep(c.status):
		return q.sealed(c.status, c.header.Get("Location"))
	case marked:
		return Outcome{State: Unknown, Retention: q.Retention}
	default:
		return Outcome{State: Released}
	}
}

// seal records a response that is going to be sent without being kept. Its error stops the response.
func (q *request) seal(n *run, status int, location string) error {
	if q.body.broken || !q.Keep(status) {
		return nil
	}
	err := q.finish(q.sealed(status, location))
	switch {
	case errors.Is(err, ErrLost):
		n.cancel(ErrLeaseLost)
		return ErrLeaseLost
	case err != nil:
		q.warn(n.ctx, "idempotent: a response is sent that could not be sealed", q.claim.ID, err)
		return nil // settle tries again
	}
	n.sealed = true
	return nil
}

func (q *request) sealed(status int, location string) Outcome {
	h := make(http.Header)
	if location != "" && len(location) <= maxLocation {
		h.Set("Location", location)
	}
	b := appendHead(nil, status, reqstate.From(q.r.Context()).RequestID(), h)
	return Outcome{State: Sealed, Record: appendSum(b), Retention: q.Retention}
}

// settle records the outcome. It tells whether that is the end of it: false is that the claim was lost.
func (q *request) settle(f *flight) (decided bool) {
	o := q.ended.outcome
	err := q.finish(o)
	if o.State == Done && errors.Is(err, ErrFull) {
		err = q.finish(q.sealed(q.ended.capture.status, q.ended.capture.header.Get("Location")))
	}
	if errors.Is(err, ErrLost) {
		q.event.Lost = true
		q.warn(q.r.Context(), "idempotent: a claim was lost while the handler ran", q.claim.ID, err)
		return false
	}
	q.decided(f, err)
	return true
}

// decided tells those who wait how the run has ended; err says that the store does not know. They get what the first client gets.
func (q *request) decided(f *flight, err error) {
	o := q.ended.outcome
	q.flights.end(f, Verdict{State: o.State, Record: o.Record}, nil)
	switch o.State {
	case Done:
		q.event.Result = Executed
	case Sealed:
		q.event.Result = RanSealed
	case Unknown:
		q.event.Result = RanUnknown
	default:
		q.event.Result = RanReleased
	}
	if err != nil {
		q.event.Result, q.event.Err = RanUnrecorded, err
		q.warn(q.r.Context(), "idempotent: the outcome of a request could not be recorded", q.claim.ID, err)
	}
}

// finish tells the store, whatever becomes of the request's context.
func (q *request) finish(o Outcome) error {
	ctx := context.WithoutCancel(q.r.Context())
	return q.try(ctx, 3*q.StoreTimeout, func(ctx context.Context) error {
		return q.store.Finish(ctx, q.claim.Own(), o)
	})
}

// reply sends the handler's own response.
func (q *request) reply() {
	e := q.ended
	switch {
	case e == nil: // this request did not run: it met a released key
		q.answer(Verdict{State: Released}, nil)
	case e.refusal != nil:
		apierror.Write(q.w, q.r, e.refusal)
	case !e.capture.through:
		rec := e.capture.record()
		send(q.w, &rec, e.capture.extra)
	}
}
