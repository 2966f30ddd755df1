package idempotent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The context of a run can end with these causes (context.Cause).
var (
	// ErrLeaseLost means that another process has taken over the claim, or may have, because
	// the lease could not be renewed in time. An error of [BeginEffect] can match it too.
	ErrLeaseLost = errors.New("idempotent: the lease was lost")
	// ErrMaxRun means that the run took longer than [Options].MaxRun. It matches
	// context.DeadlineExceeded.
	ErrMaxRun = fmt.Errorf("idempotent: the run took longer than Options.MaxRun: %w", context.DeadlineExceeded)
)

var (
	errNotRun = errors.New("idempotent: Executor.Execute returned VerdictAcquired and did not call run")
	errSlow   = errors.New("idempotent: Executor.Execute did not call run in time")
)

// run is one run of a call's task under a claim.
type run struct {
	*call
	attempt int
	ctx     context.Context // the task's; runFrom finds the run in it
	cancel  context.CancelCauseFunc
	unwatch func() bool // stops watching the caller's context; nil if that is not watched
	renewal func()      // stops the renewals; nil if there are none

	mu        sync.Mutex
	effects   int  // calls of BeginEffect that have succeeded, or still may
	shared    bool // an effect is marked in the task's transaction, so only the store knows of it
	finishing int  // calls of FinishWith that have succeeded, or still may
	over      bool // the task has returned, and its completion is decided
	recording bool // the store is being told that the task ran, while it still runs
	recorded  bool // the store knows; the response goes out as it is written, and is not kept
	forget    bool // Forget was called
	stream    bool // Stream was called

	completion Completion
	answered   bool  // the response went out before the completion was recorded
	full       error // the store had no room for the response
	err        error // answers the call in place of a response
}

type runKey struct{}

// runFrom returns the run of a task's context. It is nil without a key.
func runFrom(ctx context.Context) *run {
	n, _ := ctx.Value(runKey{}).(*run)
	return n
}

// begin runs the task under a claim that was asked for at the given time. The caller records
// how the run ended. If the task panics or calls runtime.Goexit, begin records it instead,
// and the panic continues.
func (c *call) begin(attempt int, asked time.Time) {
	ctx, cancel := c.runContext()
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
		n.err = n.beginEffect(n.ctx, n.storeEffect)
	}
	if n.err != nil {
		n.end(Completion{State: StateAbsent})
	} else {
		n.end(c.task.run(n))
	}
	returned = true
}

// execute lets the Executor run the task, unless the call must not run. The Executor then rolls
// back.
func (c *call) execute() (d Decision, err error) {
	c.ran = nil
	ctx, cancel := c.runContext()
	defer cancel(nil)
	slow := time.AfterFunc(max(c.timeLeft(), c.opt.StoreTimeout), func() { cancel(errSlow) })
	defer slow.Stop()
	d, err = c.executor.Execute(ctx, c.newClaim(), func(ctx context.Context, attempt int) Completion {
		slow.Stop()
		if c.followed {
			return Completion{State: StateAbsent}
		}
		ctx, cancel := context.WithCancelCause(ctx)
		n := c.newRun(ctx, cancel, attempt)
		defer n.stop()
		n.end(c.task.run(n))
		return n.completion
	})
	if err == nil && d.Verdict == VerdictAcquired && c.ran == nil && !c.followed {
		err = errNotRun
	}
	return d, err
}

// runContext returns a context for a run, which ends after MaxRun at the latest. A detached
// call keeps the deadline of its caller's context, but not its cancellation.
func (c *call) runContext() (context.Context, context.CancelCauseFunc) {
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
	c.event.Outcome = OutcomeReleased // remains if a panic makes an Executor roll back
	n := &run{call: c, attempt: attempt, cancel: cancel}
	n.ctx = context.WithValue(ctx, runKey{}, n)
	if c.detached {
		n.unwatch = context.AfterFunc(c.caller, n.callerGone)
	}
	c.ran = n
	return n
}

// stop ends everything that goes on beside the run: its context, the renewals, and the watch
// on the caller.
func (n *run) stop() {
	if n.renewal != nil {
		n.renewal()
	}
	if n.unwatch != nil {
		n.unwatch()
	}
	n.cancel(nil)
}

// callerGone is called when the context of a detached run's caller ends. If it ends with a
// cause, such as the end of the server, the run ends too. If the client has left, the run
// ends only if it streams to the client.
func (n *run) callerGone() {
	switch cause := context.Cause(n.caller); {
	case errors.Is(n.caller.Err(), context.DeadlineExceeded): // the run has the same deadline
	case cause != context.Canceled || n.streams(): //nolint:errorlint // an error that wraps it is a cause
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

// record tells the store how the run ended.
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

// recordNotKept records that the task ran, before a response that is not kept is sent. It
// records nothing for a response that frees the key.
func (n *run) recordNotKept(c Completion, kept bool) error {
	if !n.startRecording(kept) {
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
	if err != nil { // record tries again when the task has returned
		n.warn("idempotent: a response is sent before it could be recorded", err)
	}
	return nil
}

func (n *run) startRecording(kept bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recording = kept && !n.forget
	return n.recording
}

// finish calls the store's Finish, even if the caller's context has ended.
func (n *run) finish(c Completion) error {
	return n.try(n.uncanceled, 3*n.opt.StoreTimeout, func(ctx context.Context) error {
		return n.store.Finish(ctx, n.owner(), c)
	})
}

// needsLease reports whether losing the lease would still matter: the task runs, and its end
// is neither recorded nor being recorded, nor may the task itself have recorded it.
func (n *run) needsLease() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.over && n.finishing == 0 && !n.recording && !n.recorded
}

// mayHaveFinished reports whether the task may have recorded a response in its own transaction.
func (n *run) mayHaveFinished() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.finishing > 0
}

func (n *run) isOver() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.over
}

func (n *run) streams() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stream
}
