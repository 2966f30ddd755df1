package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Schema returns the statements that create the tables, for services that migrate with a tool. They
// can be run again. Of the options, only Prefix matters.
func Schema(o *Options) string {
	opt := o.withDefaults()
	return newStatements(opt.Prefix).schema
}

// migrationLock is the key of an advisory lock: "seawall" in ASCII.
const migrationLock = 0x73656177616c6c

// Migrate creates the tables that are missing. It can be called by several processes at the same
// time and at every start: if nothing is missing, it takes no lock and needs no right to create
// tables. Of the options, only Prefix matters.
func Migrate(ctx context.Context, pool *pgxpool.Pool, o *Options) error {
	sql := newRecords("Migrate", pool, o).sql
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if done, err := migrated(ctx, tx, sql); done || err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return err
		}
		if done, err := migrated(ctx, tx, sql); done || err != nil { // another process has
			return err
		}
		_, err := tx.Exec(ctx, sql.schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: Migrate: %w", err)
	}
	return nil
}

// migrated reports whether all tables and indexes are there.
func migrated(ctx context.Context, tx pgx.Tx, sql *statements) (done bool, err error) {
	err = tx.QueryRow(ctx, "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name", sql.tables).Scan(&done)
	return done, err
}
