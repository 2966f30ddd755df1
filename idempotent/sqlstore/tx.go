package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"
)

// DBTX is what a *sql.DB, a *sql.Tx and a *sql.Conn have in common. It is the interface DBTX of
// sqlc and ConnPool of gorm.
type DBTX interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Transaction is what [Options].Begin returns. A *sql.Tx is one. It must run statements as they
// are. A transaction of bun does not: return the *sql.Tx that it embeds.
type Transaction interface {
	DBTX
	Commit() error
	Rollback() error
}

type txKey struct{}

// Tx returns the transaction in which an [Executor] runs a handler. It is nil without one, so
// also for a request without a key: see [InTx].
//
// The Executor commits or rolls back the transaction when the handler has returned. If the
// handler does so with a statement, its request fails, and after a COMMIT its retries do too.
// It can set savepoints whose names do not begin with "seawall". It must close its rows.
func Tx(ctx context.Context) DBTX {
	if tx, ok := ctx.Value(txKey{}).(*handlerTx); ok {
		return tx
	}
	return nil
}

// InTx calls f with a transaction, for handlers that serve requests with and without a key.
// With a key, it is the transaction of [Tx], after a savepoint: if f returns an error, its
// effects are rolled back, and the handler can still answer. Without a key, it is a transaction
// of db with the default options, which is committed unless f returns an error. InTx returns the
// error of f, or that of the transaction.
func InTx(ctx context.Context, db *sql.DB, f func(tx DBTX) error) error {
	if tx, ok := ctx.Value(txKey{}).(*handlerTx); ok {
		return tx.nested(ctx, f)
	}
	return inTx(ctx, db, nil, f)
}

// errOver is the error of the handler's transaction after the handler has returned.
var errOver = errors.New("sqlstore: the handler has returned, and its transaction is over")

// handlerTx is the Executor's transaction for the handler. It notes the last error of the
// database that it sees. It does not see the errors of rows and of prepared statements, because
// database/sql does not let it wrap them.
type handlerTx struct {
	tx      Transaction
	dialect Dialect
	wait    time.Duration
	over    atomic.Bool            // the handler has returned
	failure atomic.Pointer[string] // the SQLSTATE of the last error; in SQLite its text
	unseen  atomic.Bool            // rows or prepared statements may have failed
	remains atomic.Bool            // a rollback to a savepoint has failed, so its effects remain
}

// The savepoints.
const (
	beforeRun  = "seawall_before_run"
	beforeInTx = "seawall_before_in_tx"
)

// before is called before each statement.
func (t *handlerTx) before(ctx context.Context) error {
	if t.over.Load() {
		return errOver
	}
	if t.unseen.Load() {
		t.keepOpen(ctx)
	}
	return nil
}

// keepOpen makes sure that there is a transaction in SQLite. After some errors, such as a full
// disk or an interruption, SQLite has rolled back the whole transaction, and would commit each
// later statement of the handler by itself. BEGIN then begins another transaction, which the
// Executor rolls back because it lacks the savepoint. Within a transaction, BEGIN only fails.
func (t *handlerTx) keepOpen(ctx context.Context) {
	if t.dialect != SQLite {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.wait)
	defer cancel()
	_, _ = t.tx.ExecContext(ctx, "BEGIN")
}

func (t *handlerTx) note(ctx context.Context, err error) {
	switch {
	case err == nil:
	case t.dialect == SQLite:
		text := err.Error()
		t.failure.Store(&text)
		t.keepOpen(ctx)
	default:
		if state := stateOf(err); state != "" && state != codeAborted {
			t.failure.Store(&state)
		}
	}
}

// lastFailure returns the SQLSTATE of the last error, or in SQLite its text. It is empty if there
// was none.
func (t *handlerTx) lastFailure() string {
	if state := t.failure.Load(); state != nil {
		return *state
	}
	return ""
}

// ExecContext implements [DBTX].
func (t *handlerTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := t.before(ctx); err != nil {
		return nil, err
	}
	result, err := t.tx.ExecContext(ctx, query, args...)
	t.note(ctx, err)
	return result, err
}

// PrepareContext implements [DBTX].
func (t *handlerTx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := t.before(ctx); err != nil {
		return nil, err
	}
	t.unseen.Store(true)
	stmt, err := t.tx.PrepareContext(ctx, query)
	t.note(ctx, err)
	return stmt, err
}

// QueryContext implements [DBTX].
func (t *handlerTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := t.before(ctx); err != nil {
		return nil, err
	}
	t.unseen.Store(true)
	rows, err := t.tx.QueryContext(ctx, query, args...)
	t.note(ctx, err)
	return rows, err
}

// QueryRowContext implements [DBTX].
func (t *handlerTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if t.before(ctx) != nil {
		return t.tx.QueryRowContext(overContext{ctx}, query, args...)
	}
	t.unseen.Store(true)
	row := t.tx.QueryRowContext(ctx, query, args...)
	t.note(ctx, row.Err())
	return row
}

// overContext has ended with errOver. There is no other way to make a row that returns an error.
type overContext struct{ context.Context }

func (overContext) Done() <-chan struct{} { return ended }
func (overContext) Err() error            { return errOver }

var ended = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// nested calls f with the transaction after a savepoint, and rolls back to it if f fails.
func (t *handlerTx) nested(ctx context.Context, f func(tx DBTX) error) (err error) {
	if _, err := t.ExecContext(ctx, "SAVEPOINT "+beforeInTx); err != nil {
		return err
	}
	released := false
	defer func() {
		if !released { // f may have panicked
			failure := t.rollBackTo(ctx, beforeInTx)
			t.remains.Store(t.remains.Load() || failure != nil)
			err = errors.Join(err, failure)
		}
	}()
	if err := f(t); err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, "RELEASE SAVEPOINT "+beforeInTx)
	released = err == nil
	return err
}

// rollBackTo rolls back to a savepoint and removes it, even if ctx has ended.
func (t *handlerTx) rollBackTo(ctx context.Context, savepoint string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.wait)
	defer cancel()
	if _, err := t.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+savepoint); err != nil {
		return err
	}
	_, err := t.ExecContext(ctx, "RELEASE SAVEPOINT "+savepoint)
	return err
}
