package service

import (
	"context"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// withFaults returns a store whose calls have failpoints. It has those optional interfaces of the
// given one that a Guard uses.
func withFaults(s idempotent.Store, f *failpoints) idempotent.Store {
	base := faultyStore{s, f}
	if e, ok := s.(idempotent.Executor); ok {
		return faultyExecutor{base, e}
	}
	w, ok := s.(idempotent.Waiter)
	if !ok {
		return base
	}
	if l, ok := s.(idempotent.LocalStore); ok {
		return faultyLocal{faultyWaiter{base, w}, l}
	}
	return faultyWaiter{base, w}
}

// faultyStore has the windows of a [idempotent.Store].
type faultyStore struct {
	next idempotent.Store
	f    *failpoints
}

// Acquire implements [idempotent.Store].
func (s faultyStore) Acquire(ctx context.Context, claim idempotent.Claim) (d idempotent.Decision, err error) {
	c := callFrom(ctx)
	if err := s.f.fault(c, history.BeforeClaim); err != nil {
		return d, err
	}
	d, err = s.next.Acquire(ctx, claim)
	if err == nil && d.Verdict == idempotent.VerdictAcquired {
		err = s.f.fault(c, history.AfterClaim)
	}
	if err != nil {
		return idempotent.Decision{}, err
	}
	return d, nil
}

// Renew implements [idempotent.Store].
func (s faultyStore) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if c := callFrom(ctx); c != nil && s.f.isDown(c.key) {
		return errDown
	}
	return s.next.Renew(ctx, o, d)
}

// BeginEffect implements [idempotent.Store].
func (s faultyStore) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	c := callFrom(ctx)
	if err := s.f.fault(c, history.BeforeMark); err != nil {
		return err
	}
	if err := s.next.BeginEffect(ctx, o); err != nil {
		return err
	}
	return s.f.fault(c, history.AfterMark)
}

// Finish implements [idempotent.Store].
func (s faultyStore) Finish(ctx context.Context, o idempotent.Owner, end idempotent.Completion) error {
	c := callFrom(ctx)
	if c == nil || c.run == "" { // gives a claim back
		return s.next.Finish(ctx, o, end)
	}
	var skip history.Action
	if end.State != idempotent.StateDone {
		skip = history.Full // it refuses only a response
	}
	if err := s.f.faultBut(c, history.BeforeFinish, skip); err != nil {
		return err
	}
	if err := s.next.Finish(ctx, o, end); err != nil {
		return err
	}
	return s.f.fault(c, history.AfterFinish)
}

// faultyWaiter is a faultyStore that wakes duplicates.
type faultyWaiter struct {
	faultyStore
	waiter idempotent.Waiter
}

// Wait implements [idempotent.Waiter].
func (s faultyWaiter) Wait(ctx context.Context, id idempotent.ID) error {
	if c := callFrom(ctx); c != nil && s.f.isDown(c.key) {
		return errDown
	}
	return s.waiter.Wait(ctx, id)
}

// faultyLocal is a faultyWaiter whose records are in this process.
type faultyLocal struct {
	faultyWaiter
	idempotent.LocalStore
}

// faultyExecutor has the windows of an [idempotent.Executor].
type faultyExecutor struct {
	faultyStore
	executor idempotent.Executor
}

// Execute implements [idempotent.Executor].
func (s faultyExecutor) Execute(ctx context.Context, claim idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	c := callFrom(ctx)
	if err := s.f.fault(c, history.BeforeClaim); err != nil {
		return idempotent.Decision{}, err
	}
	var (
		refused   error
		committed bool
	)
	d, err := s.executor.Execute(ctx, claim, func(ctx context.Context, attempt int) idempotent.Completion {
		end := run(ctx, attempt)
		if committed = end.State != idempotent.StateAbsent; !committed {
			return end
		}
		if refused = s.f.fault(c, history.BeforeCommit); refused != nil {
			committed = false
			return idempotent.Completion{State: idempotent.StateAbsent}
		}
		return end
	})
	if err == nil {
		err = refused
	}
	if err == nil && committed {
		err = s.f.fault(c, history.AfterCommit)
	}
	if err != nil {
		return idempotent.Decision{}, err
	}
	return d, nil
}
