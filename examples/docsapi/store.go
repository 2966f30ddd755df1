package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	sqlitedriver "modernc.org/sqlite"  // the driver "sqlite"
	sqlitecodes "modernc.org/sqlite/lib"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// store keeps resources in SQLite or PostgreSQL, and the answers for idempotency keys beside them,
// unless those are in Redis.
type store struct {
	db          *sql.DB // for reading
	writer      *sql.DB // for transactions; with PostgreSQL the same pool
	executor    *sqlstore.Executor
	keysInRedis bool
	stopSweeper context.CancelFunc
}

// database is what differs between SQLite and PostgreSQL. All other statements are the same.
type database struct {
	driver     string
	dialect    sqlstore.Dialect
	migrations []string
}

var (
	sqlite = database{"sqlite", sqlstore.SQLite, []string{
		`CREATE TABLE IF NOT EXISTS resources (
			number   INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of creation
			id       TEXT NOT NULL UNIQUE,
			account  TEXT NOT NULL,
			name     TEXT NOT NULL,
			metadata TEXT NOT NULL -- a JSON object
		)`,
		`CREATE INDEX IF NOT EXISTS resources_of_account ON resources (account, number)`,
	}}
	postgreSQL = database{"pgx", sqlstore.PostgreSQL, []string{
		`SELECT pg_advisory_xact_lock(7325)`, // processes that start at the same time create the tables once
		`CREATE TABLE IF NOT EXISTS resources (
			number   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			id       TEXT NOT NULL UNIQUE,
			account  TEXT NOT NULL,
			name     TEXT NOT NULL,
			metadata TEXT NOT NULL
		)`,
		`CREATE INDEX IF NOT EXISTS resources_of_account ON resources (account, number)`,
	}}
)

// openStore opens the database and creates the tables that are missing.
func openStore(ctx context.Context, c config, logger *slog.Logger) (*store, error) {
	d, source, where := sqlite, sqliteSource(c.db), c.db
	if c.postgres != "" {
		d, source, where = postgreSQL, c.postgres, "PostgreSQL" // the URL may hold a password
	}
	db, err := sql.Open(d.driver, source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20) // a connection takes longer to open than a statement
	writer := db
	if c.postgres == "" {
		// SQLite has one writer at a time. Writers that wait for this connection get their turn.
		// Those that poll for SQLite's lock may not.
		if writer, err = sql.Open(d.driver, source); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		writer.SetMaxOpenConns(1)
	}
	executor := sqlstore.NewExecutor(db, d.dialect, &sqlstore.Options{
		Begin: func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx, err := writer.BeginTx(ctx, nil)
			return ctx, tx, err
		},
	})
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &store{db: db, writer: writer, executor: executor, keysInRedis: c.keysInRedis(), stopSweeper: stop}
	if err := migrate(ctx, writer, d); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", where, err), s.close())
	}
	go s.sweep(sweeping, logger)
	return s, nil
}

// sqliteSource returns the name of a data source, with the settings that docs/POSTGRES.md explains.
func sqliteSource(file string) string {
	return "file:" + url.PathEscape(file) + "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
}

func migrate(ctx context.Context, db *sql.DB, d database) error {
	if err := sqlstore.Migrate(ctx, db, d.dialect, nil); err != nil {
		return err
	}
	return sqlstore.InTx(ctx, db, func(tx sqlstore.DBTX) error {
		for _, statement := range d.migrations {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *store) close() error {
	s.stopSweeper()
	return errors.Join(s.db.Close(), s.writer.Close())
}

// sweep removes answers that are over their retention, until ctx ends.
func (s *store) sweep(ctx context.Context, logger *slog.Logger) {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-minute.C:
			if _, err := s.executor.Sweep(ctx, 10_000); err != nil && ctx.Err() == nil {
				logger.WarnContext(ctx, "old idempotency keys are not removed", "error", err)
			}
		}
	}
}

// write calls f with a transaction. If the request has a key, the Executor commits the transaction
// together with the answer: f happens exactly once. If the answers are in Redis, f happens at most
// once: if the process is killed around the commit, a retry gets 409 idempotency_outcome_unknown.
func (s *store) write(ctx context.Context, f func(tx sqlstore.DBTX) error) error {
	return sqlstore.InTx(ctx, s.writer, func(tx sqlstore.DBTX) error {
		if err := f(tx); err != nil {
			return err
		}
		if s.keysInRedis {
			return idempotent.BeginEffect(ctx)
		}
		return nil
	})
}

func (s *store) insert(ctx context.Context, account string, created resource) error {
	metadata, err := json.Marshal(created.Metadata)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx sqlstore.DBTX) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO resources (id, account, name, metadata) VALUES ($1, $2, $3, $4)`,
			created.ID, account, created.Name, string(metadata))
		return err
	})
}

func (s *store) find(ctx context.Context, account, id string) (resource, error) {
	return scan(s.db.QueryRowContext(ctx, `SELECT id, name, metadata FROM resources WHERE account = $1 AND id = $2`, account, id))
}

// update changes what is not nil in p.
func (s *store) update(ctx context.Context, account, id string, p params) (updated resource, err error) {
	var metadata sql.NullString
	if p.Metadata != nil {
		text, err := json.Marshal(p.Metadata)
		if err != nil {
			return resource{}, err
		}
		metadata = sql.NullString{String: string(text), Valid: true}
	}
	err = s.write(ctx, func(tx sqlstore.DBTX) error {
		updated, err = scan(tx.QueryRowContext(ctx, `UPDATE resources SET name = COALESCE($1, name), metadata = COALESCE($2, metadata)
			WHERE account = $3 AND id = $4 RETURNING id, name, metadata`, p.Name, metadata, account, id))
		return err
	})
	return updated, err
}

func (s *store) remove(ctx context.Context, account, id string) error {
	return s.write(ctx, func(tx sqlstore.DBTX) error {
		_, err := scan(tx.QueryRowContext(ctx,
			`DELETE FROM resources WHERE account = $1 AND id = $2 RETURNING id, name, metadata`, account, id))
		return err
	})
}

// list returns up to limit resources whose number is over after. next is the number of the last one
// if there are more, and else 0.
func (s *store) list(ctx context.Context, account string, after int64, limit int) (resources []resource, next int64, err error) {
	rows, err := s.db.QueryContext(ctx,
		`SELECT id, name, metadata, number FROM resources WHERE account = $1 AND number > $2 ORDER BY number LIMIT $3`, account, after, limit+1)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	resources = []resource{} // in JSON, an empty array
	for last := after; rows.Next(); {
		if len(resources) == limit {
			return resources, last, nil
		}
		found, err := scan(rows, &last)
		if err != nil {
			return nil, 0, err
		}
		resources = append(resources, found)
	}
	return resources, 0, rows.Err()
}

// scan reads a resource, and then the columns in more. Without a row, it returns resource_missing.
func scan(row interface{ Scan(...any) error }, more ...any) (found resource, err error) {
	var metadata []byte
	err = row.Scan(append([]any{&found.ID, &found.Name, &metadata}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return resource{}, apierror.ResourceMissing("resource")
	}
	if err != nil {
		return resource{}, err
	}
	return found, json.Unmarshal(metadata, &found.Metadata)
}

// unavailable returns the error to send if a database cannot be reached, or if SQLite has been
// locked by another process for too long. It returns nil for any other error.
func unavailable(err error) *apierror.Error {
	_, unreachable := errors.AsType[*pgconn.ConnectError](err)
	locked, ok := errors.AsType[*sqlitedriver.Error](err)
	if unreachable || ok && locked.Code()&0xff == sqlitecodes.SQLITE_BUSY {
		return apierror.ServiceUnavailable(time.Second)
	}
	return nil
}
