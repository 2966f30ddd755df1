package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// postgreSQL is a database in PostgreSQL.
type postgreSQL struct {
	pool     *pgxpool.Pool
	store    *pgstore.Store
	executor *pgstore.Executor
}

func openPostgreSQL(ctx context.Context, addr string, logger *slog.Logger) (*postgreSQL, error) {
	url := addr
	if !strings.Contains(url, "://") {
		url = "postgres://postgres@" + addr + "/postgres?sslmode=disable"
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	o := &pgstore.Options{Logger: logger, Wait: Lease, IdleTimeout: MaxRun}
	return &postgreSQL{pool, pgstore.New(pool, o), pgstore.NewExecutor(pool, o)}, nil
}

func (d *postgreSQL) migrate(ctx context.Context) error {
	var done bool
	err := d.pool.QueryRow(ctx, "SELECT to_regclass('effects_of_key') IS NOT NULL").Scan(&done)
	if done || err != nil {
		return err // without the check, CREATE INDEX waits for all transactions that write
	}
	if err := pgstore.Migrate(ctx, d.pool, nil); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			"SELECT pg_advisory_xact_lock(5127)", // processes that start at the same time create the table once
			stores.EffectsTable,
			indexEffects,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *postgreSQL) insert(ctx context.Context, e history.Effect) error {
	return pgstore.InTx(ctx, d.pool, func(tx pgx.Tx) error { return postgreSQLTx{tx, nil}.insert(ctx, e) })
}

func (d *postgreSQL) find(ctx context.Context, key string) (e history.Effect, ok bool, err error) {
	e.Key = key
	err = d.pool.QueryRow(ctx, findEffect, key).Scan(&e.Way, &e.Amount, &e.Run)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, false, nil
	}
	return e, err == nil, err
}

func (d *postgreSQL) close() { d.pool.Close() }

func (d *postgreSQL) begin(ctx context.Context) (transaction, error) {
	tx, err := d.pool.Begin(ctx)
	return postgreSQLTx{tx, d.store}, err
}

type postgreSQLTx struct {
	tx    pgx.Tx
	store *pgstore.Store
}

func (t postgreSQLTx) insert(ctx context.Context, e history.Effect) error {
	_, err := t.tx.Exec(ctx, insertEffect, e.Key, e.Way, e.Amount, e.Run)
	return err
}

func (t postgreSQLTx) finish(ctx context.Context, r idempotent.Response) error {
	return t.store.FinishTx(ctx, t.tx, r)
}

func (t postgreSQLTx) beginEffect(ctx context.Context) error { return t.store.BeginEffectTx(ctx, t.tx) }
func (t postgreSQLTx) commit(ctx context.Context) error      { return t.tx.Commit(ctx) }

func (t postgreSQLTx) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), Lease)
	defer cancel()
	_ = t.tx.Rollback(ctx) // the database rolls back if the connection is lost
}
