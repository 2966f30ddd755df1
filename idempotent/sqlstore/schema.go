package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Schema returns the statements that create the tables, for services that migrate with a tool.
// They can be run again. Of the options, only Prefix matters.
func Schema(d Dialect, o *Options) string {
	opt := o.withDefaults()
	return newStatements(d, opt.Prefix).schema
}

// migrationLock is the key of an advisory lock: "seawall" in ASCII.
const migrationLock = 0x73656177616c6c

// Migrate creates the tables that are missing. It can be called by several processes at the
// same time and at every start: if nothing is missing, it takes no lock and needs no right to
// create tables. Of the options, only Prefix and, for SQLite, Wait matter.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, o *Options) error {
	s := newRecords("Migrate", db, d, o)
	err := s.step(ctx, func(tx DBTX) error {
		if d == PostgreSQL {
			if done, err := s.migrated(ctx, tx); done || err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
				return err
			}
			if done, err := s.migrated(ctx, tx); done || err != nil { // another process has
				return err
			}
		}
		for statement := range strings.SplitSeq(s.sql.schema, ";\n") { // few drivers take several together
			if statement = withoutComments(statement); statement == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sqlstore: Migrate: %w", err)
	}
	return nil
}

// migrated reports whether all tables and indexes are there.
func (s *records) migrated(ctx context.Context, tx DBTX) (bool, error) {
	for _, name := range s.sql.tables {
		var done bool
		err := tx.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", name).Scan(&done)
		if !done || err != nil {
			return false, err
		}
	}
	return true, nil
}
