package idempotent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// ErrLeaseLost is the cause with which a run's context is canceled (context.Cause) if its claim
// was taken over, or could not be renewed before its lease was over, so that another process may
// take over. [BeginEffect] returns it too.
var ErrLeaseLost = errors.New("idempotent: the lease was lost")

// ErrMaxRun is the cause with which a run's context ends when [Options].MaxRun is over.
// It matches context.DeadlineExceeded.
var ErrMaxRun = fmt.Errorf("idempotent: the run took longer than Options.MaxRun: %w", context.DeadlineExceeded)

var (
	errLate   = errors.New("idempotent: BeginEffect after the run has ended")
	errNotRun = errors.New("idempotent: the Executor acquired, and did not run")
	errSlow   = errors.New("idempotent: the Executor did not begin to run in time")
)

// run is one run under a claim.
type run struct {
	*call
	attempt int
	ctx     runContext
	cancel  context.CancelCauseFunc
	watch   func() bool // stops watching the caller's context; nil if that is not watched
	renewal func()      // ends the renewals; nil if there are none

	mu        sync.Mutex
	effects   int  // calls of BeginEffect that have succeeded, or may still
	shared    bool // one of them is part of a transaction of the task's, whose fate the store knows
	over      bool // the task has ended, and what that means is decided
	recording bool // the store is being told that the task ran, while it still runs
	recorded  bool // the store knows that; the response goes out as it is written, and is not kept
	forget    bool // Forget was called
	stream    bool // Stream was called

	completion Completion
	answered   bool  // the caller gets the response before it is recorded how the run ended
	full       error // the store had no room for the response
	err        error // is answered in place of a response
}

// runContext is a run's context.
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

// begin runs the task under a claim that was asked for at the given time. lead records how it
// ended. If the task panics begin does, since the panic continues.
func (c *call) begin(attempt int, asked time.Time) {
	ctx, cancel := c.context()
	n := c.newRun(ctx, cancel, attempt)
	if !c.local {
		n.renewal = n.renew(asked)
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			n.end(Completion{State: StateAbsent})
			res := c.resultOfRun(n.record())
			c.event.Outcome, c.event.Err = res.outcome, res.err
		}
	}()
	if c.opt.AtMostOnce {
		n.err = n.beginEffect(&n.ctx, n.mark)
	}
	if n.err != nil {
		n.end(Completion{State: StateAbsent})
	} else {
		n.end(c.task.run(n))
	}
	returned = true
}

// execute lets the store run the task.
func (c *call) execute() (d Decision, err error) {
	c.ran = nil
	ctx, cancel := c.context()
	defer cancel(nil)
	slow := time.AfterFunc(max(c.timeLeft(), c.opt.StoreTimeout), func() { cancel(errSlow) })
	defer slow.Stop()
	d, err = c.executor.Execute(ctx, c.newClaim(), func(ctx context.Context, attempt int) Completion {
		slow.Stop()
		ctx, cancel := context.WithCancelCause(ctx)
		n := c.newRun(ctx, cancel, attempt)
		defer n.stop()
		n.end(c.task.run(n))
		return n.completion
	})
	if err == nil && d.Verdict == VerdictAcquired && c.ran == nil {
		err = errNotRun
	}
	return d, err
}

// context returns the context for a run, which ends with MaxRun at the latest. If the call is
// detached, it keeps the deadline of the caller's context and not its cancellation.
func (c *call) context() (context.Context, context.CancelCauseFunc) {
	var (
		ends  time.Time
		cause error
	)
	if c.opt.MaxRun > 0 {
		ends, cause = time.Now().Add(c.opt.MaxRun), ErrMaxRun
	}
	ctx := c.caller
	if c.detached {
		if d, ok := ctx.Deadline(); ok && (ends.IsZero() || d.Before(ends)) {
			ends, cause = d, context.DeadlineExceeded
		}
		ctx = c.uncanceled
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if ends.IsZero() {
		return ctx, cancel
	}
	ctx, stop := context.WithDeadlineCause(ctx, ends, cause)
	return ctx, func(cause error) {
		cancel(cause)
		stop()
	}
}

func (c *call) newRun(ctx context.Context, cancel context.CancelCauseFunc, attempt int) *run {
	c.stampWaited()
	c.event.Attempt = attempt
	c.event.Outcome = OutcomeReleased // if nothing else is decided: a panic rolls an Executor back
	n := &run{call: c, attempt: attempt, cancel: cancel}
	n.ctx = runContext{ctx, n}
	if c.detached {
		n.watch = context.AfterFunc(c.caller, n.callerGone)
	}
	c.ran = n
	return n
}

// stop ends what goes on beside the run: its context, the renewals, the look at the caller.
func (n *run) stop() {
	if n.renewal != nil {
		n.renewal()
	}
	if n.watch != nil {
		n.watch()
	}
	n.cancel(nil)
}

// callerGone ends a detached run whose caller's context has ended, if that is more than a client
// that has left: the server ends, say. A client that has left ends only a run that streams to
// it.
func (n *run) callerGone() {
	switch cause := context.Cause(n.caller); {
	case errors.Is(n.caller.Err(), context.DeadlineExceeded): // its own deadline is the same
	case cause != context.Canceled || n.streams(): //nolint:errorlint // what wraps it says more
		n.cancel(cause)
	}
}

// end decides how the run ends.
func (n *run) end(c Completion) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
	switch {
	case n.recorded:
		return
	case n.forget:
		c = Completion{State: StateAbsent}
	case c.State == StateAbsent && n.effects > 0:
		c.State = StateUnknown
	}
	c.Retention = n.opt.Retention
	n.completion = c
}

// record tells the store how the run has ended.
func (n *run) record() error {
	defer n.stop()
	if n.recorded {
		return nil
	}
	err := n.finish(n.completion)
	if n.completion.State == StateDone && errors.Is(err, ErrFull) {
		n.full = err
		n.completion.State, n.completion.Response = StateNotKept, withoutBody(n.completion.Response)
		err = n.finish(n.completion)
	}
	return err
}

// recordNotKept records that the task ran, before its response goes out that is not kept. It
// does not for a response after which the key is free.
func (n *run) recordNotKept(c Completion, kept bool) error {
	if !n.beginRecording(kept) {
		n.answered = true
		return nil
	}
	c.Retention = n.opt.Retention
	err := n.finish(c)
	n.mu.Lock()
	n.recording = false
	if err == nil {
		n.recorded, n.completion = true, c
	}
	n.mu.Unlock()
	if errors.Is(err, ErrLost) {
		n.cancel(ErrLeaseLost)
		return ErrLeaseLost
	}
	n.answered = true
	if err != nil { // it is tried again when the task has returned
		n.warn("idempotent: a response is sent before it could be recorded that it is", err)
	}
	return nil
}

func (n *run) beginRecording(kept bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recording = kept && !n.forget
	return n.recording
}

// finish tells the store, whatever becomes of the caller's context.
func (n *run) finish(c Completion) error {
	return n.try(n.uncanceled, 3*n.opt.StoreTimeout, func(ctx context.Context) error {
		return n.store.Finish(ctx, n.owner(), c)
	})
}

// beginEffect is BeginEffect, by an operation of the store. No lock is held while the store is
// asked: an effect counts as begun from before that, and the store knows at Finish whether it
// was.
func (n *run) beginEffect(ctx context.Context, begin func(context.Context, Owner) error) error {
	if begun, err := n.intend(); begun || err != nil {
		return err
	}
	err := begin(ctx, n.owner())
	if err == nil {
		return nil
	}
	n.mu.Lock()
	n.effects--
	n.mu.Unlock()
	if errors.Is(err, ErrLost) {
		n.cancel(ErrLeaseLost)
		return serviceUnavailable(ErrLeaseLost)
	}
	return serviceUnavailable(fmt.Errorf("idempotent: BeginEffect: %w", err))
}

// intend counts an effect that is about to begin.
func (n *run) intend() (begun bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.executor != nil:
		return false, apierror.CodeAPIError.New().WithCause(fmt.Errorf("idempotent: BeginEffect within an Executor: %w", errors.ErrUnsupported))
	case n.over:
		return false, apierror.CodeAPIError.New().WithCause(errLate)
	case n.recorded: // it never runs again
		return true, nil
	case errors.Is(context.Cause(&n.ctx), ErrLeaseLost):
		return false, serviceUnavailable(ErrLeaseLost)
	}
	n.effects++
	n.forget = false
	return false, nil
}

// mark is BeginEffect of the store.
func (n *run) mark(ctx context.Context, o Owner) error {
	return n.try(ctx, n.opt.StoreTimeout, func(ctx context.Context) error { return n.store.BeginEffect(ctx, o) })
}

// serviceUnavailable is an error that a handler can return as it is.
func serviceUnavailable(cause error) error {
	return apierror.ServiceUnavailable(soon()).WithCause(cause)
}

// isOver reports whether the record is finished, or about to be, so that there is no lease to lose.
func (n *run) isOver() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.over || n.recording || n.recorded
}

// hasEnded reports whether the task has returned.
func (n *run) hasEnded() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.over
}

func (n *run) streams() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stream
}
