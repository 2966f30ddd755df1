package pgstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

type txKey struct{}

// Tx returns the transaction in which an [Executor] runs a handler. It is nil without one, so also
// for a request without a key: see [InTx].
//
// The Executor commits or rolls back the transaction when the handler has returned. Its methods
// Commit and Rollback return an error. Begin sets a savepoint, as in any pgx.Tx.
func Tx(ctx context.Context) pgx.Tx {
	if tx, ok := ctx.Value(txKey{}).(*handlerTx); ok {
		return tx
	}
	return nil
}

// InTx calls f with a transaction, for handlers that serve requests with and without a key. With a
// key, it is the transaction of [Tx], after a savepoint: if f returns an error, its effects are
// rolled back, and the handler can still answer. Without a key, it is a transaction of the pool,
// which is committed unless f returns an error. f must not commit tx or roll it back. InTx returns
// the error of f, or that of the transaction.
func InTx(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	tx, keyed := ctx.Value(txKey{}).(*handlerTx)
	switch {
	case !keyed:
		return pgx.BeginFunc(ctx, pool, f)
	case tx.used.Load():
		return pgx.BeginFunc(ctx, tx, f)
	}
	return tx.first(ctx, f)
}

// first is InTx before anything else. The Executor's savepoint is then as good as another one.
func (t *handlerTx) first(ctx context.Context, f func(tx pgx.Tx) error) (err error) {
	returned := false
	defer func() {
		if err == nil && returned {
			return
		}
		ctx, cancel := unhurried(ctx)
		defer cancel()
		if _, failure := t.Exec(ctx, "ROLLBACK TO SAVEPOINT "+beforeRun); failure != nil { // also after a panic
			t.remains.Store(true)
			err = errors.Join(err, failure)
		}
	}()
	err = f(t)
	returned = true
	return err
}

// The errors of the handler's transaction.
var (
	errNotYours = errors.New("pgstore: the Executor commits or rolls back this transaction when the handler has returned")
	errOver     = errors.New("pgstore: the handler has returned, and its transaction is over")
)

// handlerTx is the Executor's transaction for the handler. It notes the last error of the database.
type handlerTx struct {
	tx pgx.Tx
	watch
}

// watch is shared by a handlerTx and what comes from it.
type watch struct {
	used    *atomic.Bool            // the handler has sent something
	over    *atomic.Bool            // the handler has returned
	failure *atomic.Pointer[string] // the SQLSTATE of the last error of the database
	remains *atomic.Bool            // the end of a savepoint has failed, so its effects remain
}

func newHandlerTx(tx pgx.Tx) *handlerTx {
	return &handlerTx{tx, watch{new(atomic.Bool), new(atomic.Bool), new(atomic.Pointer[string]), new(atomic.Bool)}}
}

// ready returns an error unless the handler may send something.
func (w watch) ready() error {
	if w.over.Load() {
		return errOver
	}
	w.used.Store(true)
	return nil
}

// checked is ready for a statement.
func (w watch) checked(sql string) error {
	if endsTransaction(sql) {
		return errNotYours
	}
	return w.ready()
}

// endsTransaction reports whether a statement would end the transaction. It is for mistakes, and
// not for statements that hide it: the Executor notices those when the handler has returned.
func endsTransaction(sql string) bool {
	words := strings.Fields(strings.ToUpper(sql))
	if len(words) == 0 {
		return false
	}
	switch strings.TrimRight(words[0], ";") {
	case "COMMIT", "END", "ABORT":
		return true
	case "ROLLBACK":
		return !slices.Contains(words[:min(3, len(words))], "TO")
	case "PREPARE":
		return len(words) > 1 && words[1] == "TRANSACTION"
	}
	return false
}

// codeAborted is the SQLSTATE of every statement after the one that has aborted a transaction.
const codeAborted = "25P02"

func (w watch) note(err error) {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code != codeAborted {
		w.failure.Store(&pg.Code)
	}
}

// lastFailure returns the SQLSTATE of the last error of the database. It is empty if there was
// none.
func (w watch) lastFailure() string {
	if code := w.failure.Load(); code != nil {
		return *code
	}
	return ""
}

// Begin implements [pgx.Tx]. It sets a savepoint.
func (t *handlerTx) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	tx, err := t.tx.Begin(ctx)
	if err != nil {
		t.note(err)
		return nil, err
	}
	return &savepointTx{handlerTx{tx, t.watch}}, nil
}

// Commit implements [pgx.Tx].
func (t *handlerTx) Commit(context.Context) error { return errNotYours }

// Rollback implements [pgx.Tx].
func (t *handlerTx) Rollback(context.Context) error { return errNotYours }

// Exec implements [pgx.Tx].
func (t *handlerTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := t.checked(sql); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := t.tx.Exec(ctx, sql, args...)
	t.note(err)
	return tag, err
}

// Query implements [pgx.Tx].
func (t *handlerTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := t.checked(sql); err != nil {
		return pgx.FailedBatchResults(new(pgx.Batch), err).Query()
	}
	rows, err := t.tx.Query(ctx, sql, args...)
	t.note(err)
	return watchedRows{rows, t.watch}, err
}

// QueryRow implements [pgx.Tx].
func (t *handlerTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := t.checked(sql); err != nil {
		return pgx.FailedBatchResults(new(pgx.Batch), err).QueryRow()
	}
	return watchedRow{t.tx.QueryRow(ctx, sql, args...), t.watch}
}

// SendBatch implements [pgx.Tx].
func (t *handlerTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := t.ready(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return watchedBatch{t.tx.SendBatch(ctx, b), t.watch}
}

// CopyFrom implements [pgx.Tx].
func (t *handlerTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	n, err := t.tx.CopyFrom(ctx, table, columns, rows)
	t.note(err)
	return n, err
}

// Prepare implements [pgx.Tx].
func (t *handlerTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	d, err := t.tx.Prepare(ctx, name, sql)
	t.note(err)
	return d, err
}

// LargeObjects implements [pgx.Tx].
func (t *handlerTx) LargeObjects() pgx.LargeObjects {
	t.used.Store(true)
	return t.tx.LargeObjects()
}

// Conn implements [pgx.Tx]. Do not end the transaction through it.
func (t *handlerTx) Conn() *pgx.Conn {
	t.used.Store(true)
	return t.tx.Conn()
}

// savepointTx is a nested transaction of the handler, which the handler ends.
type savepointTx struct{ handlerTx }

// Commit implements [pgx.Tx]. It releases the savepoint.
func (t *savepointTx) Commit(ctx context.Context) error { return t.end(ctx, t.tx.Commit) }

// Rollback implements [pgx.Tx]. It rolls back to the savepoint.
func (t *savepointTx) Rollback(ctx context.Context) error { return t.end(ctx, t.tx.Rollback) }

// unhurried returns a context for the end of a savepoint. It does not end with ctx: the transaction
// goes on after that, and would commit what was not rolled back.
func unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

func (t *savepointTx) end(ctx context.Context, end func(context.Context) error) error {
	if err := t.ready(); err != nil {
		return err
	}
	ctx, cancel := unhurried(ctx)
	defer cancel()
	err := end(ctx)
	t.note(err)
	if err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		t.remains.Store(true) // the handler takes it for rolled back
	}
	return err
}

type watchedRow struct {
	pgx.Row
	watch
}

func (r watchedRow) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	r.note(err)
	return err
}

type watchedRows struct {
	pgx.Rows
	watch
}

func (r watchedRows) Next() bool {
	more := r.Rows.Next()
	if !more {
		r.note(r.Rows.Err())
	}
	return more
}

func (r watchedRows) Close() {
	r.Rows.Close()
	r.note(r.Rows.Err())
}

type watchedBatch struct {
	pgx.BatchResults
	watch
}

func (b watchedBatch) Exec() (pgconn.CommandTag, error) {
	tag, err := b.BatchResults.Exec()
	b.note(err)
	return tag, err
}

func (b watchedBatch) Query() (pgx.Rows, error) {
	rows, err := b.BatchResults.Query()
	b.note(err)
	return watchedRows{rows, b.watch}, err
}

func (b watchedBatch) QueryRow() pgx.Row { return watchedRow{b.BatchResults.QueryRow(), b.watch} }

func (b watchedBatch) Close() error {
	err := b.BatchResults.Close()
	b.note(err)
	return err
}
