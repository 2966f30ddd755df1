package idemtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// maxReruns bounds the runs after serialization failures.
const maxReruns = 3

// TxStore is a store in a [Database], and an [idempotent.Executor]: writes of the handler with
// [Tx] are committed together with the record.
type TxStore struct {
	db   *Database
	now  func() time.Duration
	wait time.Duration // bounds each wait
	// fate returns nil if a commit that returned an error took effect.
	fate func(context.Context, idempotent.Claim, error) error
}

// NewTxStore returns a store in db with the given clock. It waits at most wait each for a
// connection, for another transaction, and to learn whether a commit took effect.
func NewTxStore(db *Database, now func() time.Duration, wait time.Duration) *TxStore {
	s := &TxStore{db: db, now: now, wait: wait}
	s.fate = s.findOut
	return s
}

func rowOf(id idempotent.ID) string { return "record " + id.String() }

func (s *TxStore) parse(row string) record {
	if row == "" {
		return absent
	}
	return decode([]byte(row)).at(s.now())
}

// lock locks and reads the row of a record.
func (s *TxStore) lock(ctx context.Context, t *Transaction, id idempotent.ID) (record, error) {
	if err := t.Lock(ctx, rowOf(id)); err != nil {
		return record{}, err
	}
	row, err := t.Get(rowOf(id))
	return s.parse(row), err
}

func (s *TxStore) write(ctx context.Context, t *Transaction, id idempotent.ID, r record) error {
	if r.State == idempotent.StateAbsent {
		return t.Set(ctx, rowOf(id), "")
	}
	return t.Set(ctx, rowOf(id), string(encode(r)))
}

// step performs an operation in a transaction.
func (s *TxStore) step(ctx context.Context, id idempotent.ID, f func(r record, now time.Duration) (record, error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	t, err := s.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer t.Rollback()
	r, err := s.lock(ctx, t, id)
	if err != nil {
		return err
	}
	r, err = f(r, s.now())
	if err != nil {
		return err
	}
	if err := s.write(ctx, t, id, r); err != nil {
		return err
	}
	return t.Commit()
}

// Acquire implements [idempotent.Store].
func (s *TxStore) Acquire(ctx context.Context, c idempotent.Claim) (d idempotent.Decision, err error) {
	err = s.step(ctx, c.ID, func(r record, now time.Duration) (record, error) {
		r, d = r.acquire(c, now)
		return r, nil
	})
	return d, err
}

// Renew implements [idempotent.Store].
func (s *TxStore) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	return s.step(ctx, o.ID, func(r record, now time.Duration) (record, error) { return r.renew(o.Token, d, now) })
}

// BeginEffect implements [idempotent.Store].
func (s *TxStore) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	return s.step(ctx, o.ID, func(r record, _ time.Duration) (record, error) { return r.beginEffect(o.Token) })
}

// Finish implements [idempotent.Store].
func (s *TxStore) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	return s.step(ctx, o.ID, func(r record, now time.Duration) (record, error) { return r.finish(o.Token, c, now) })
}

// Execute implements [idempotent.Executor].
func (s *TxStore) Execute(ctx context.Context, c idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	for reruns := 0; ; reruns++ {
		d, err := s.execute(ctx, c, run)
		if !errors.Is(err, ErrSerialization) || reruns == maxReruns {
			return d, err
		}
	}
}

// beforeRun is the savepoint before the handler.
const beforeRun = "before the run"

// execute is one attempt of Execute. Without a commit it rolls back, also after a panic.
func (s *TxStore) execute(ctx context.Context, c idempotent.Claim, run func(context.Context, int) idempotent.Completion) (d idempotent.Decision, err error) {
	_, d = s.parse(s.db.Get(rowOf(c.ID))).acquire(c, s.now())
	if d.Verdict != idempotent.VerdictAcquired {
		return d, nil // a replay begins no transaction
	}
	wait, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	t, err := s.db.Begin(wait)
	if err != nil {
		return d, err
	}
	defer t.Rollback()
	r, err := s.lock(wait, t, c.ID)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return idempotent.Decision{Verdict: idempotent.VerdictRunning}, nil
	case err != nil:
		return d, err
	}
	if r, d = r.acquire(c, s.now()); d.Verdict != idempotent.VerdictAcquired {
		return d, nil
	}
	if err := t.Savepoint(beforeRun); err != nil {
		return d, err
	}
	completion := s.run(ctx, t, d.Attempt, run)
	switch {
	case errors.Is(t.Failure(), ErrSerialization):
		return d, ErrSerialization
	case completion.State == idempotent.StateAbsent:
		return d, nil
	case t.Failure() != nil:
		if err := undo(t, completion); err != nil {
			return d, err
		}
	}
	if r, err = r.finish(c.Token, completion, s.now()); err != nil {
		return d, err
	}
	if err := s.write(ctx, t, c.ID, r); err != nil {
		return d, err
	}
	if err := t.Commit(); err != nil {
		return d, s.fate(ctx, c, err)
	}
	return d, nil
}

// run calls the handler, with the transaction until it returns.
func (s *TxStore) run(ctx context.Context, t *Transaction, attempt int, run func(context.Context, int) idempotent.Completion) idempotent.Completion {
	tx := &HandlerTx{t: t}
	defer func() { tx.t = nil }()
	return run(context.WithValue(ctx, txKey{}, tx), attempt)
}

// undo prepares an aborted transaction to record a refusal. It refuses a success, whose effects
// are rolled back.
func undo(t *Transaction, c idempotent.Completion) error {
	response, err := idempotent.DecodeResponse(c.Response)
	if err != nil {
		return err
	}
	if response.Status < 400 {
		return fmt.Errorf("a response with the status %d after a failed statement: %w", response.Status, t.Failure())
	}
	return t.RollbackTo(beforeRun)
}

// findOut reads the record after it has locked the row, so that the old transaction has ended.
func (s *TxStore) findOut(ctx context.Context, c idempotent.Claim, err error) error {
	if !errors.Is(err, ErrConnection) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.wait)
	defer cancel()
	t, failed := s.db.Begin(ctx)
	if failed != nil {
		return errors.Join(err, failed)
	}
	defer t.Rollback()
	r, failed := s.lock(ctx, t, c.ID)
	if failed != nil {
		return errors.Join(err, failed)
	}
	if r.Token == c.Token {
		return nil
	}
	return err
}

type txKey struct{}

// Tx returns the transaction of a handler in Execute. It panics if there is none.
func Tx(ctx context.Context) *HandlerTx { return ctx.Value(txKey{}).(*HandlerTx) }

// HandlerTx is the store's transaction for the handler, which cannot end it or roll back to the
// store's savepoint.
type HandlerTx struct {
	t *Transaction // nil once the handler has returned
}

// Get returns a row.
func (x *HandlerTx) Get(row string) (string, error) {
	if x.t == nil {
		return "", ErrEnded
	}
	return x.t.Get(row)
}

// Set writes a row.
func (x *HandlerTx) Set(ctx context.Context, row, value string) error {
	if x.t == nil {
		return ErrEnded
	}
	return x.t.Set(ctx, row, value)
}

// Fail runs a statement that fails.
func (x *HandlerTx) Fail() error {
	if x.t == nil {
		return ErrEnded
	}
	return x.t.Fail()
}

// Savepoint sets a savepoint of the handler.
func (x *HandlerTx) Savepoint(name string) error {
	if x.t == nil {
		return ErrEnded
	}
	return x.t.Savepoint("handler " + name)
}

// RollbackTo rolls back to a savepoint of the handler.
func (x *HandlerTx) RollbackTo(name string) error {
	if x.t == nil {
		return ErrEnded
	}
	return x.t.RollbackTo("handler " + name)
}
