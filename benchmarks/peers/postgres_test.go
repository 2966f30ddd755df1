package peers_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// pgCallers is how many goroutines use PostgreSQL at the same time. Each has a connection.
const pgCallers = 32

// pairs is how many pairs of accounts there are. They take turns, so that no transfer waits for the
// rows of another.
const pairs = 5000

// openDatabase returns a pool for a new schema with the tables of all sides.
func openDatabase(tb testing.TB, url string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	config := must(pgxpool.ParseConfig(url))
	config.MaxConns = pgCallers
	schema := fmt.Sprintf("side%d", schemas.Add(1))
	config.ConnConfig.RuntimeParams["search_path"] = schema
	for _, f := range change {
		f(config)
	}
	pool := must(pgxpool.NewWithConfig(tb.Context(), config))
	tb.Cleanup(pool.Close)
	require.NoError(tb, pgx.BeginFunc(tb.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(tb.Context(), "CREATE SCHEMA "+schema+`;
			CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
			INSERT INTO accounts SELECT id, 1000000 FROM generate_series(0, `+strconv.Itoa(2*pairs-1)+`) AS id;
			CREATE TABLE transfers (id bigserial PRIMARY KEY, sender bigint NOT NULL, receiver bigint NOT NULL, amount bigint NOT NULL);
			CREATE TABLE keys (key text PRIMARY KEY, sum bytea NOT NULL, status integer, body bytea, created_at timestamptz NOT NULL DEFAULT now())`)
		return err
	}))
	require.NoError(tb, pgstore.Migrate(tb.Context(), pool, nil))
	return pool
}

var schemas, transfers atomic.Int64

// transfer is the business of all sides. It moves one unit from an account to another.
func transfer(exec func(sql string, args ...any) error) error {
	sender := transfers.Add(1) % pairs * 2
	if err := exec("UPDATE accounts SET balance = balance - 1 WHERE id = $1", sender); err != nil {
		return err
	}
	if err := exec("UPDATE accounts SET balance = balance + 1 WHERE id = $1", sender+1); err != nil {
		return err
	}
	return exec("INSERT INTO transfers (sender, receiver, amount) VALUES ($1, $2, 1)", sender, sender+1)
}

// transferIn makes a transfer in a transaction of pgx.
func transferIn(ctx context.Context, tx pgx.Tx) error {
	return transfer(func(sql string, args ...any) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	})
}

// pgSide is one way to do the job of a row with PostgreSQL.
type pgSide struct {
	name string
	open func(pool *pgxpool.Pool) func(tb testing.TB) (op func()) // called for the side, then for each caller
}

// compareOnPostgres runs the sides on the same server, one after the other, as compare does. The
// server waits for the disk at each commit that has changed something, as it does by default.
func compareOnPostgres(b *testing.B, callers int, sides []pgSide) {
	server := pgtest.Start(b, "fsync = on", "autovacuum = off")
	if os.Getenv("BENCH_REVERSE") != "" {
		slices.Reverse(sides)
	}
	for _, s := range sides {
		pool := openDatabase(b, server.URL(""))
		setup := s.open(pool)
		var ops []func()
		for range callers {
			ops = append(ops, setup(b))
		}
		inParallel(ops, 10*callers) // opens the connections and prepares the statements
		b.Run(s.name, func(b *testing.B) {
			before, processor := serverTime(b, server), processorTime()
			b.ReportAllocs()
			b.ResetTimer()
			inParallel(ops, b.N)
			b.StopTimer()
			b.ReportMetric(float64(processorTime()-processor)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(serverTime(b, server)-before)/float64(b.N), "server-ns/op")
		})
		pool.Close()
	}
}

// inParallel calls the operations n times in all. Each has a goroutine.
func inParallel(ops []func(), n int) {
	var wg sync.WaitGroup
	for i, op := range ops {
		wg.Go(func() {
			for range (n + i) / len(ops) {
				op()
			}
		})
	}
	wg.Wait()
}

// serverTime returns the nanoseconds of processor time that the processes of a server have used.
func serverTime(tb testing.TB, server *pgtest.Server) (total int64) {
	pid := strconv.Itoa(server.Pid())
	children := must(os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children")))
	for child := range strings.FieldsSeq(string(children)) {
		b, err := os.ReadFile(filepath.Join("/proc", child, "schedstat"))
		if os.IsNotExist(err) {
			continue // it has ended
		}
		require.NoError(tb, err)
		ns, _, _ := strings.Cut(string(b), " ")
		total += must(strconv.ParseInt(ns, 10, 64))
	}
	return total
}
