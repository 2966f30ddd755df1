package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Executor is an [idempotent.Executor] in PostgreSQL or SQLite: what a handler does in the
// transaction of [Tx], and the record of its response, are committed together. It also
// implements [idempotent.Sweeper], [idempotent.Resolver] and [idempotent.UnknownLister]. It is
// safe for concurrent use. Make one and share it.
//
// It can share its tables with a [Store], for example if other routes of the service use one: a
// key is then the same key for both.
type Executor struct {
	records
	settings string // the statement that sets the timeouts; empty if there are none
}

// NewExecutor returns an Executor. [Migrate] creates its tables. NewExecutor does not connect,
// and panics if db is nil, or the dialect or an option is invalid. The caller closes db, after
// the last call of the Executor.
func NewExecutor(db *sql.DB, d Dialect, o *Options) *Executor {
	s := &Executor{records: newRecords("NewExecutor", db, d, o)}
	if d == PostgreSQL {
		s.settings = settings(&s.opt)
	}
	if s.opt.Begin == nil {
		txOptions := s.opt.TxOptions
		s.opt.Begin = func(ctx context.Context) (context.Context, Transaction, error) {
			tx, err := db.BeginTx(ctx, &txOptions)
			return ctx, tx, err
		}
	}
	return s
}

// settings returns the statement that sets the timeouts of a transaction.
func settings(o *Options) string {
	var list []string
	for _, setting := range []struct {
		name    string
		timeout time.Duration
	}{
		{"idle_in_transaction_session_timeout", o.IdleTimeout},
		{"statement_timeout", o.StatementTimeout},
		{"lock_timeout", o.LockTimeout},
	} {
		if setting.timeout > 0 {
			ms := min(max(1, setting.timeout.Milliseconds()), math.MaxInt32) // what PostgreSQL accepts
			list = append(list, fmt.Sprintf("set_config('%s', '%d', true)", setting.name, ms))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "SELECT " + strings.Join(list, ", ")
}

// The codes of PostgreSQL.
const (
	codeSerializationFailure = "40001"
	codeDeadlockDetected     = "40P01"
	codeAborted              = "25P02" // every statement after the one that has aborted a transaction
	codeNoTransaction        = "25P01"
	codeNoSavepoint          = "3B001"
	codeDiskFull             = "53100"
	codeNoTable              = "42P01"
)

// maxReruns bounds how often a handler runs again after serialization failures.
const maxReruns = 3

// errAgain means that a transaction was rolled back after a serialization failure or a
// deadlock, and can run again.
var errAgain = errors.New("the transaction cannot be serialized")

// isConflict reports whether a transaction can run again after an error with a SQLSTATE.
func isConflict(state string) bool {
	return state == codeSerializationFailure || state == codeDeadlockDetected
}

// Execute implements [idempotent.Executor]. It reads the record before it begins a transaction.
func (s *Executor) Execute(ctx context.Context, c idempotent.Claim, run func(ctx context.Context, attempt int) idempotent.Completion) (idempotent.Decision, error) {
	if err := c.Validate(); err != nil {
		return idempotent.Decision{}, fmt.Errorf("sqlstore: Execute: %w", err)
	}
	for reruns := 0; ; reruns++ {
		d, err := s.execute(ctx, c, run)
		if isConflict(stateOf(err)) {
			err = fmt.Errorf("%w: %w", errAgain, err)
		}
		if !errors.Is(err, errAgain) || reruns == maxReruns || ctx.Err() != nil {
			return d, failed(ctx, "Execute", c.ID, err)
		}
		// A little later, the other transaction is over.
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(10 * time.Millisecond << reruns)):
		}
	}
}

// execute is one try of Execute.
func (s *Executor) execute(ctx context.Context, c idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	d, err := s.lookUp(ctx, c)
	if err != nil || d.Verdict != idempotent.VerdictAcquired {
		return d, err
	}
	t, d, err := s.begin(ctx, c)
	if err != nil {
		return d, err
	}
	defer t.rollback() // does nothing after a commit
	if d.Verdict != idempotent.VerdictAcquired {
		t.rollback()
		return s.taken(ctx, c)
	}
	completion := t.run(ctx, d.Attempt, run)
	return d, s.end(ctx, t, c, completion)
}

// lookUp reads the record outside of a transaction, and removes it if it is over.
func (s *Executor) lookUp(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Wait)
	defer cancel()
	d, over, err := s.read(ctx, c)
	if err == nil && over {
		err = s.step(ctx, func(tx DBTX) error { return s.drop(ctx, tx, c.ID) })
	}
	return d, err
}

// taken returns the verdict of a claim that has failed because another transaction has the
// record, or had it until now.
func (s *Executor) taken(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	d, err := s.lookUp(ctx, c)
	if err == nil && d.Verdict == idempotent.VerdictAcquired { // not committed yet
		d = idempotent.Decision{Verdict: idempotent.VerdictRunning}
	}
	return d, err
}

// transaction is a transaction of Execute.
type transaction struct {
	tx      Transaction
	values  context.Context    // what Options.Begin has returned
	end     context.CancelFunc // ends the context of Options.Begin
	ended   bool               // committed or rolled back, or at least told so
	wait    time.Duration
	handler *handlerTx
}

// begin begins a transaction with the claim. The verdict is VerdictAcquired or zero.
func (s *Executor) begin(ctx context.Context, c idempotent.Claim) (t *transaction, d idempotent.Decision, err error) {
	bounded, cancel := context.WithTimeout(ctx, s.opt.Wait)
	defer cancel()
	err = s.whileBusy(bounded, func() error {
		if t, err = s.beginTx(ctx, bounded); err != nil {
			return err
		}
		if d, err = s.claimIn(bounded, t.tx, c); err != nil {
			t.rollback()
		}
		return err
	})
	return t, d, err
}

// beginTx begins a transaction that goes on when ctx ends. database/sql rolls a transaction
// back when the context ends with which it was begun. So that context ends with bounded only
// until the transaction has begun.
func (s *Executor) beginTx(ctx, bounded context.Context) (*transaction, error) {
	life, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(bounded, end)
	values, tx, err := s.opt.Begin(contextWith{life, ctx})
	if err == nil && (values == nil || tx == nil) {
		err = errors.New("Options.Begin has returned no context or no transaction")
	} else if err == nil && !stop() {
		_ = tx.Rollback()
		err = bounded.Err()
	}
	if err != nil {
		end()
		if bounded.Err() != nil && errors.Is(err, context.Canceled) { // life has ended with it
			err = bounded.Err()
		}
		return nil, err
	}
	return &transaction{
		tx: tx, values: values, end: end, wait: s.opt.Wait,
		handler: &handlerTx{tx: tx, dialect: s.dialect, wait: s.opt.Wait},
	}, nil
}

// contextWith ends with one context and has the values of another.
type contextWith struct {
	context.Context
	values context.Context
}

// Value implements [context.Context].
func (c contextWith) Value(key any) any { return c.values.Value(key) }

// maxRun is a duration that no handler takes. Until then the record is not over its retention,
// which begins again with the response.
const maxRun = 24 * time.Hour

// claimIn makes the claim in a new transaction. In SQLite it is the first statement, so that it
// waits for the lock.
func (s *Executor) claimIn(ctx context.Context, tx DBTX, c idempotent.Claim) (d idempotent.Decision, err error) {
	if s.settings != "" {
		if _, err := tx.ExecContext(ctx, s.settings); err != nil {
			return d, err
		}
	}
	c.Retention = max(c.Retention, maxRun)
	var args []any
	if s.dialect == PostgreSQL {
		args = append(args, lockKey(c.ID))
	}
	d, err = s.claim(ctx, tx, s.sql.claimUnlocked, c, args...)
	if err == nil && d.Verdict == idempotent.VerdictAcquired {
		_, err = tx.ExecContext(ctx, "SAVEPOINT "+beforeRun)
	}
	return d, err
}

// lockKey is the key of the advisory lock that a transaction holds on its record. With the
// lock, a duplicate sees that the record is taken without waiting for the transaction.
func lockKey(id idempotent.ID) int64 { return int64(binary.BigEndian.Uint64(id[:8])) }

// run calls the handler, which has the transaction until it returns.
func (t *transaction) run(ctx context.Context, attempt int, run func(context.Context, int) idempotent.Completion) idempotent.Completion {
	defer t.handler.over.Store(true)
	ctx = contextWith{ctx, t.values}
	return run(context.WithValue(ctx, txKey{}, t.handler), attempt)
}

var errEnded = errors.New("the transaction is no longer the one that was begun: the handler has ended it, or the database has after an error")

var errRemains = errors.New("the rollback of InTx has failed, perhaps because rows were open")

// end records the completion and commits, or returns without a commit. It releases the savepoint
// first, which shows in what state the transaction is.
func (s *Executor) end(ctx context.Context, t *transaction, c idempotent.Claim, completion idempotent.Completion) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Wait)
	defer cancel()
	_, err := t.tx.ExecContext(ctx, "RELEASE SAVEPOINT "+beforeRun)
	aborted, absent := stateOf(err) == codeAborted, completion.State == idempotent.StateAbsent
	switch {
	case isEnded(err):
		return s.disown(ctx, t, c)
	// After a savepoint, such as that of InTx, the transaction is intact, but the handler has
	// failed.
	case (aborted || absent) && isConflict(t.handler.lastFailure()):
		return fmt.Errorf("%w: SQLSTATE %s", errAgain, t.handler.lastFailure())
	case absent:
		return nil
	case aborted:
		if err := refusal(completion, t.handler.lastFailure()); err != nil {
			return err
		}
		if _, err := t.tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+beforeRun); err != nil {
			return err
		}
	case err != nil:
		return err
	case t.handler.remains.Load():
		return errRemains
	}
	switch err := s.finish(ctx, t.tx, c.Owner(), completion); {
	case errors.Is(err, idempotent.ErrLost):
		return errEnded
	case err != nil:
		return err
	}
	err = t.commit()
	if err == nil || isConflict(stateOf(err)) || s.dialect == SQLite && isBusy(err) {
		return err // SQLite has not committed, and the driver has rolled back
	}
	return s.findOut(ctx, c, err)
}

// disown returns the error for a transaction that is no longer the Executor's. If the handler has
// committed it, the record is running, and no one else will finish it: its outcome is unknown.
func (s *Executor) disown(ctx context.Context, t *transaction, c idempotent.Claim) error {
	t.rollback()
	err := s.step(ctx, func(tx DBTX) error {
		if _, err := tx.ExecContext(ctx, s.sql.beginEffect, c.ID[:], c.Token[:]); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.sql.finish, c.ID[:], c.Token[:], idempotent.StateUnknown.String(), nil, microseconds(c.Retention))
		return err
	})
	if s.dialect == SQLite {
		return errors.Join(fmt.Errorf("%w; the last error is %q", errEnded, t.handler.lastFailure()), err)
	}
	return errors.Join(errEnded, err)
}

// isEnded reports whether the savepoint is gone.
func isEnded(err error) bool {
	if err == nil {
		return false
	}
	state := stateOf(err)
	return state == codeNoSavepoint || state == codeNoTransaction || strings.Contains(err.Error(), "no such savepoint")
}

// refusal returns an error unless a completion can be recorded after the handler's effects were
// rolled back.
func refusal(c idempotent.Completion, state string) error {
	response, err := idempotent.DecodeResponse(c.Response)
	if err != nil {
		return err
	}
	if response.Status < 400 {
		return fmt.Errorf("the handler has answered %d after a statement that failed with SQLSTATE %q, so its effects are rolled back", response.Status, state)
	}
	return nil
}

// commit commits. After an error, the transaction may be committed all the same.
func (t *transaction) commit() error {
	t.ended = true
	defer t.end()
	return within(t.wait, t.tx.Commit)
}

// rollback rolls back, unless the transaction has ended.
func (t *transaction) rollback() {
	if !t.ended {
		t.ended = true
		defer t.end()
		_ = within(t.wait, t.tx.Rollback)
	}
}

// within calls f, and waits for it for as long as d: it takes no context, and some drivers wait
// for a database that does not answer.
func within(d time.Duration, f func() error) error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case err := <-result:
		return err
	case <-timeout.C:
		return fmt.Errorf("the database has not answered for %s", d)
	}
}

// findOut returns nil if the transaction whose commit has failed with err has taken effect. It
// waits until the old transaction has ended, and tries again while the database cannot be
// reached, for as long as Options.Wait.
func (s *Executor) findOut(ctx context.Context, c idempotent.Claim, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Wait)
	defer cancel()
	for {
		own, failure := s.owns(ctx, c)
		switch {
		case failure == nil && own:
			return nil
		case failure == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is unknown whether the transaction is committed: %w; %v", err, failure) //nolint:errorlint // only err is about the transaction
		case <-time.After(20*time.Millisecond + rand.N(50*time.Millisecond)):
		}
	}
}

// owns reports whether the record is that of the claim, after all transactions that may change
// it have ended.
func (s *Executor) owns(ctx context.Context, c idempotent.Claim) (own bool, err error) {
	var key any = c.ID[:]
	if s.dialect == PostgreSQL {
		key = lockKey(c.ID)
	}
	err = s.step(ctx, func(tx DBTX) error {
		if _, err := tx.ExecContext(ctx, s.sql.waitForTransaction, key); err != nil {
			return err
		}
		own = false
		return ignoreNoRows(tx.QueryRowContext(ctx, s.sql.owner, c.ID[:], c.Token[:]).Scan(&own))
	})
	return own, err
}
