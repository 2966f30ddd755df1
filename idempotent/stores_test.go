package idempotent_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

func memory() idempotent.Store { return idempotent.NewMemory(nil) }

// sinceStart returns a clock for a store.
func sinceStart() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// leased hides that a store is local, so that its claims have leases and its calls have timeouts.
type leased struct{ idempotent.Store }

// decorated is a store around a Memory that keeps its optional methods.
type decorated struct {
	idempotent.Store
	memory *idempotent.Memory
}

func (d decorated) Local() bool { return d.memory.Local() }

func (d decorated) Wait(ctx context.Context, id idempotent.ID) error { return d.memory.Wait(ctx, id) }

// faulty is a store with a hook around each operation. A hook calls next to perform the
// operation.
type faulty struct {
	idempotent.Store
	acquire func(next acquireFunc) (idempotent.Decision, error)
	renew   func(next func() error) error
	begin   func(next func() error) error
	finish  func(c idempotent.Completion, next func() error) error
}

type acquireFunc = func() (idempotent.Decision, error)

func (f *faulty) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	next := func() (idempotent.Decision, error) { return f.Store.Acquire(ctx, c) }
	if f.acquire == nil {
		return next()
	}
	return f.acquire(next)
}

func (f *faulty) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	next := func() error { return f.Store.Renew(ctx, o, d) }
	if f.renew == nil {
		return next()
	}
	return f.renew(next)
}

func (f *faulty) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	next := func() error { return f.Store.BeginEffect(ctx, o) }
	if f.begin == nil {
		return next()
	}
	return f.begin(next)
}

func (f *faulty) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	next := func() error { return f.Store.Finish(ctx, o, c) }
	if f.finish == nil {
		return next()
	}
	return f.finish(c, next)
}

var errDown = errors.New("connection refused")

// failAcquire is a hook of Acquire that returns err.
func failAcquire(err error) func(acquireFunc) (idempotent.Decision, error) {
	return func(acquireFunc) (idempotent.Decision, error) { return idempotent.Decision{}, err }
}

// failWith is a hook of Renew or BeginEffect that returns err.
func failWith(err error) func(func() error) error {
	return func(func() error) error { return err }
}

// failFinish is a hook of Finish that returns err.
func failFinish(err error) func(idempotent.Completion, func() error) error {
	return func(idempotent.Completion, func() error) error { return err }
}

// noRoom is a hook of Finish that refuses responses.
func noRoom(c idempotent.Completion, next func() error) error {
	if c.State == idempotent.StateDone {
		return idempotent.ErrFull
	}
	return next()
}

// cutOff returns the store of a process that cannot renew its lease.
func cutOff(store idempotent.Store) *faulty {
	return &faulty{Store: store, renew: failWith(errDown)}
}

// crashed returns the store of a process that dies while its handler runs.
func crashed(store idempotent.Store) *faulty {
	return &faulty{Store: store, renew: failWith(errDown), finish: failFinish(errDown)}
}

// hanging is a store that does not answer.
type hanging struct{ idempotent.Store }

func (hanging) Acquire(ctx context.Context, _ idempotent.Claim) (idempotent.Decision, error) {
	<-ctx.Done()
	return idempotent.Decision{}, ctx.Err()
}

func (hanging) Finish(ctx context.Context, _ idempotent.Owner, _ idempotent.Completion) error {
	<-ctx.Done()
	return ctx.Err()
}

// damaged is a store that returns another record than was stored.
type damaged struct {
	idempotent.Store
	record []byte
}

func (d damaged) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	v, err := d.Store.Acquire(ctx, c)
	if v.Response != nil {
		v.Response = d.record
	}
	return v, err
}

// recorder is a store that records its calls.
type recorder struct {
	idempotent.Store
	mu      sync.Mutex
	calls   []string
	claims  []idempotent.Claim
	timeout time.Duration // of the last Acquire
}

func (r *recorder) record(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

// distinct returns the calls without repeats in a row.
func (r *recorder) distinct() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Compact(slices.Clone(r.calls))
}

func (r *recorder) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	r.record("Acquire")
	r.mu.Lock()
	r.claims = append(r.claims, c)
	if deadline, ok := ctx.Deadline(); ok {
		r.timeout = time.Until(deadline)
	}
	r.mu.Unlock()
	return r.Store.Acquire(ctx, c)
}

func (r *recorder) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	r.record("Renew")
	return r.Store.Renew(ctx, o, d)
}

func (r *recorder) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	r.record("BeginEffect")
	return r.Store.BeginEffect(ctx, o)
}

func (r *recorder) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	r.record("Finish " + c.State.String())
	return r.Store.Finish(ctx, o, c)
}
