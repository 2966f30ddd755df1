package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// sqlite is a database in SQLite.
type sqlite struct {
	db       *sql.DB // for reading, and for the records of leases
	writer   *sql.DB // for transactions: one at a time, in turn
	store    *sqlstore.Store
	executor *sqlstore.Executor
}

func openSQLite(file string) (*sqlite, error) {
	busy := StoreTimeout.Milliseconds()
	source := "file:" + url.PathEscape(file) + fmt.Sprintf(
		"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(%d)", busy)
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, err
	}
	writer, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	writer.SetMaxOpenConns(1)
	o := &sqlstore.Options{
		Wait: Lease,
		Begin: func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx, err := writer.BeginTx(ctx, nil)
			return ctx, tx, err
		},
	}
	return &sqlite{db, writer, sqlstore.New(db, sqlstore.SQLite, o), sqlstore.NewExecutor(db, sqlstore.SQLite, o)}, nil
}

func (d *sqlite) migrate(ctx context.Context) error {
	var done bool
	err := d.db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_master WHERE name = 'effects_of_key'").Scan(&done)
	if done || err != nil {
		return err // without the check, it waits for the lock
	}
	if err := sqlstore.Migrate(ctx, d.writer, sqlstore.SQLite, nil); err != nil {
		return err
	}
	return sqlstore.InTx(ctx, d.writer, func(tx sqlstore.DBTX) error {
		for _, statement := range []string{
			stores.EffectsTable,
			indexEffects,
		} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *sqlite) insert(ctx context.Context, e history.Effect) error {
	return sqlstore.InTx(ctx, d.writer, func(tx sqlstore.DBTX) error { return insertInto(ctx, tx, e) })
}

func insertInto(ctx context.Context, tx sqlstore.DBTX, e history.Effect) error {
	_, err := tx.ExecContext(ctx, insertEffect, e.Key, string(e.Way), e.Amount, e.Run)
	return err
}

func (d *sqlite) find(ctx context.Context, key string) (e history.Effect, ok bool, err error) {
	e.Key = key
	err = d.db.QueryRowContext(ctx, findEffect, key).Scan(&e.Way, &e.Amount, &e.Run)
	if errors.Is(err, sql.ErrNoRows) {
		return e, false, nil
	}
	return e, err == nil, err
}

func (d *sqlite) close() { _, _ = d.db.Close(), d.writer.Close() }

func (d *sqlite) begin(ctx context.Context) (transaction, error) {
	tx, err := d.writer.BeginTx(ctx, nil)
	return sqliteTx{tx, d.store}, err
}

type sqliteTx struct {
	tx    *sql.Tx
	store *sqlstore.Store
}

func (t sqliteTx) insert(ctx context.Context, e history.Effect) error {
	return insertInto(ctx, t.tx, e)
}

func (t sqliteTx) finish(ctx context.Context, r idempotent.Response) error {
	return t.store.FinishTx(ctx, t.tx, r)
}

func (t sqliteTx) beginEffect(ctx context.Context) error { return t.store.BeginEffectTx(ctx, t.tx) }
func (t sqliteTx) commit(context.Context) error          { return t.tx.Commit() }
func (t sqliteTx) rollback()                             { _ = t.tx.Rollback() }
