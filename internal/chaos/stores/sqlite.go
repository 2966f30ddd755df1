package stores

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // the driver

	"github.com/seawall-go/seawall/idempotent/sqlstore"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// startSQLite creates the file. The servers open it themselves, so nothing is on the way to it.
func startSQLite(tb testing.TB, s *Store) {
	tb.Helper()
	dir, disk := tb.TempDir(), newDisk(tb)
	if disk != nil {
		dir = disk.dir
	}
	file := filepath.Join(dir, "chaos.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)")
	must(tb, err)
	db.SetMaxIdleConns(0) // a connection that is not in use cannot hold up a server
	tb.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(tb.Context(), EffectsTable)
	must(tb, errors.Join(err, sqlstore.Migrate(tb.Context(), db, sqlstore.SQLite, nil)))

	s.Ways = append(append([]history.Way(nil), external...), transactional...)
	s.Addrs = func(int) []string { return []string{file} }
	s.Effects = func(ctx context.Context) ([]history.Effect, error) { return sqliteEffects(ctx, db) }
	locked := &intruder{db: db, statement: "BEGIN IMMEDIATE"}
	reader := &intruder{db: db, statement: "BEGIN; SELECT count(*) FROM effects"}
	s.Faults = []Fault{
		{Kind: "locked", Target: "store", Begin: locked.begin, End: locked.end},
		{Kind: "reader", Target: "store", Begin: reader.begin, End: reader.end},
	}
	if disk != nil {
		s.Faults = append(s.Faults, Fault{Kind: "full", Target: "store", Begin: disk.fill, End: disk.clear})
	}
	s.Heal = func() error {
		empty := func() error { return nil }
		if disk != nil {
			empty = disk.clear
		}
		return all(empty, locked.end, reader.end, func() error {
			return await(s.Name, func() error {
				_, err := db.ExecContext(context.Background(), "CREATE TABLE healed (n); DROP TABLE healed")
				return err
			})
		})
	}
}

// An intruder is a transaction that is in the way of the servers: it has the lock for writes, or
// holds up checkpoints, so that the write-ahead log grows.
type intruder struct {
	db        *sql.DB
	statement string

	mu   sync.Mutex
	conn *sql.Conn
}

func (i *intruder) begin() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	conn, err := i.db.Conn(context.Background())
	if err != nil {
		return err
	}
	err = await("the lock of the file", func() error { // a server that is stopped may have it
		_, err := conn.ExecContext(context.Background(), i.statement)
		return err
	})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	i.conn = conn
	return nil
}

func (i *intruder) end() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.conn == nil {
		return nil
	}
	_, err := i.conn.ExecContext(context.Background(), "ROLLBACK")
	err = errors.Join(err, i.conn.Close())
	i.conn = nil
	return err
}

func sqliteEffects(ctx context.Context, db *sql.DB) (effects []history.Effect, err error) {
	rows, err := db.QueryContext(ctx, "SELECT key, way, amount, run FROM effects")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e history.Effect
		if err := rows.Scan(&e.Key, &e.Way, &e.Amount, &e.Run); err != nil {
			return nil, err
		}
		effects = append(effects, e)
	}
	return effects, rows.Err()
}
