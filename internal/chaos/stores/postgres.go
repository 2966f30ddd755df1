package stores

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// EffectsTable makes the table of the effects, in each database. It has no unique constraint: it
// must be able to show an effect that happened twice.
const EffectsTable = "CREATE TABLE IF NOT EXISTS effects (key text NOT NULL, way text NOT NULL, amount integer NOT NULL, run text NOT NULL)"

const (
	// fillTables is a full disk for a process that may not mount one.
	fillTables = `SET lock_timeout = '2s';
		CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
		CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON idempotency_records
			FOR EACH ROW EXECUTE FUNCTION full_disk()`
	clearTables = `SET lock_timeout = '2s'; DROP TRIGGER IF EXISTS full_disk ON idempotency_records`

	terminate = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`
)

func startPostgres(tb testing.TB, s *Store, servers int) {
	tb.Helper()
	clock, disk := newClock(tb), newDisk(tb)
	pg := pgtest.StartEnv(tb, clock.env(), "max_connections = 200", "restart_after_crash = on")
	node := process{server: pg}
	tables := pg.URL("")
	full, fill, empty := "full by a trigger", query(pg, fillTables), query(pg, clearTables)
	if disk != nil {
		full, fill, empty = "full", disk.fill, disk.clear
		must(tb, query(pg, "CREATE TABLESPACE disk LOCATION '"+disk.dir+"'")())
		tables += "&default_tablespace=disk"
	}
	must(tb, createTables(tb.Context(), tables))

	links := newLinks(tb, servers, pg.Addr)
	commits := make([]*pgtest.Proxy, servers) // in front of the links
	for i := range commits {
		commits[i] = pgtest.NewProxy(tb, links[i][0].Addr)
	}
	s.Ways = append(append([]history.Way(nil), external...), transactional...)
	s.Addrs = func(server int) []string { return []string{commits[server].URL("")} }
	s.Effects = func(ctx context.Context) ([]history.Effect, error) { return postgresEffects(ctx, pg.URL("")) }
	s.Faults = append(links.faults(), node.faults("store")...)
	s.Faults = append(s.Faults, clock.faults()...)
	s.Faults = append(s.Faults,
		Fault{
			Kind: "immediate", Target: "store",
			Begin: func() error { return node.kill(pg.StopImmediately) }, End: node.revive,
		},
		Fault{
			Kind: "terminate", Target: "store",
			Begin: query(pg, terminate), End: func() error { return nil },
		},
		Fault{Kind: full, Target: "store", Begin: fill, End: empty},
	)
	for i, p := range commits {
		s.Faults = append(s.Faults, commitFaults(link(i), p)...)
	}
	s.Heal = func() error {
		for _, p := range commits {
			p.Disarm()
		}
		if disk != nil {
			if err := disk.clear(); err != nil { // a restart may need room
				return err
			}
		}
		return all(links.heal, func() error { return clock.set(0) }, node.revive, empty, func() error {
			return await(s.Name, query(pg, "SET statement_timeout = '2s'; CREATE TABLE healed (); DROP TABLE healed"))
		})
	}
}

// query returns a function that runs a query as the superuser, directly.
func query(pg *pgtest.Server, sql string) func() error {
	return func() error {
		_, err := pg.SQL(sql)
		return err
	}
}

// commitFaults are those of one COMMIT on the way of a server.
func commitFaults(target string, p *pgtest.Proxy) []Fault {
	end := func() error { p.Disarm(); return nil }
	return []Fault{
		{Kind: "commit reply lost", Target: target, Begin: func() error { p.DropCommitReply(""); return nil }, End: end},
		{Kind: "commit lost", Target: target, Begin: func() error { p.LoseCommit(""); return nil }, End: end},
		{Kind: "commit late", Target: target, Begin: func() error {
			p.DelayCommit("", random(100*time.Millisecond, 2*time.Second))
			return nil
		}, End: end},
	}
}

func createTables(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.Exec(ctx, EffectsTable)
	return errors.Join(err, pgstore.Migrate(ctx, pool, nil))
}

func postgresEffects(ctx context.Context, url string) ([]history.Effect, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "SELECT key, way, amount, run FROM effects")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e history.Effect, err error) {
		err = row.Scan(&e.Key, &e.Way, &e.Amount, &e.Run)
		return e, err
	})
}
