package peers_test

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/pgtest"
)

// The statements of requests. Those of a line are sent together.
var (
	business  = []string{"update accounts", "update accounts", "insert transfers"}
	committed = []string{"commit"}
	begun     = append([]string{"begin"}, business...)
	claimed   = []string{
		"select records",
		"begin, insert records, insert leases, commit",
	}
	finished = []string{"begin, update records, select records, select set_config, delete leases, commit"}
	executed = []string{
		"select records",
		"begin, select pg_try_advisory_xact_lock, savepoint",
	}
	recorded = []string{"release savepoint, insert records, commit"}
	replayed = []string{"select records"}
)

// The Executor adds one round trip and no commit. Commits count if they have changed something,
// because only those wait for the disk.
func TestWhatARequestCostsInPostgres(t *testing.T) { //nolint:tparallel // each case counts all commits
	t.Parallel()
	server := pgtest.Start(t, "autovacuum = off")
	sql(t, server, "CREATE EXTENSION pg_walinspect")
	for _, tt := range []struct {
		side    string
		first   []string
		commits int
		replay  []string
	}{
		{"bare", slices.Concat(begun, committed), 1, nil},
		{"seawall", slices.Concat(executed, business, recorded), 1, replayed},
		{"intx", slices.Concat(executed, business, recorded), 1, replayed},
		{"sqlstore", slices.Concat([]string{
			"select records", "begin", "select set_config", "insert records", "savepoint",
		}, business, []string{"release savepoint", "update records", "commit"}), 1, replayed},
		{"finishtx", slices.Concat(claimed, begun, []string{"update records, select records"}, committed, finished), 3, replayed},
		{"begineffecttx", slices.Concat(claimed, begun, []string{"update records"}, committed, finished), 3, replayed},
		{"leased", slices.Concat(claimed, begun, committed, finished), 3, replayed},
	} {
		t.Run(tt.side, func(t *testing.T) {
			proxy, seen := pgtest.NewProxy(t, server.Addr), new(trace)
			send := overHTTP(t, pgOnceNamed(t, tt.side).open(openDatabase(t, proxy.URL(""), func(c *pgxpool.Config) {
				c.MaxConns = 1
				c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
				c.ConnConfig.Tracer = seen
			})))
			requireCost := func(key string, statements []string, commits int) {
				seen.lines = nil
				before, position := proxy.Counts(), sql(t, server, "SELECT pg_current_wal_insert_lsn()")
				requireCreated(t, send, key)
				after := proxy.Counts()
				require.Equal(t, statements, seen.lines)
				require.Equal(t, len(statements), after.RoundTrips-before.RoundTrips, "round trips")
				require.Equal(t, commits, commitsSince(t, server, position))
			}
			requireCreated(t, send, uuid.NewString()) // prepares the statements
			key := uuid.NewString()
			requireCost(key, tt.first, tt.commits)
			if tt.replay != nil {
				requireCost(key, tt.replay, 0)
			}
		})
	}
}

func pgOnceNamed(tb testing.TB, name string) pgOnce {
	for _, o := range pgOnces {
		if o.name == name {
			return o
		}
	}
	tb.Fatal("no side", name)
	return pgOnce{}
}

// trace notes the statements that pgx sends for one caller. Those of a batch make one line.
type trace struct{ lines []string }

// TraceQueryStart implements [pgx.QueryTracer].
func (tr *trace) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	tr.lines = append(tr.lines, inShort(data.SQL))
	return ctx
}

// TraceBatchStart implements [pgx.BatchTracer].
func (tr *trace) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	var statements []string
	for _, q := range data.Batch.QueuedQueries {
		statements = append(statements, inShort(q.SQL))
	}
	tr.lines = append(tr.lines, strings.Join(statements, ", "))
	return ctx
}

// The other methods of [pgx.QueryTracer] and [pgx.BatchTracer].
func (tr *trace) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData)     {}
func (tr *trace) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (tr *trace) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

var (
	verb  = regexp.MustCompile(`(?:WITH gone AS \()?((?i:release )?\w+)`)
	table = regexp.MustCompile(`set_config|pg_try_advisory_xact_lock|accounts|transfers|(?:FROM|INTO|UPDATE) idempotency_(\w+)`)
)

// inShort returns the verb of a statement and its table.
func inShort(sql string) string {
	short := strings.ToLower(verb.FindStringSubmatch(sql)[1])
	if m := table.FindStringSubmatch(sql); m != nil {
		return short + " " + cmp.Or(m[1], m[0])
	}
	return short
}

// commitsSince returns how many transactions have been committed since a position of the server's
// log, without those that have changed nothing.
func commitsSince(tb testing.TB, server *pgtest.Server, position string) (n int) {
	sql(tb, server, "SELECT pg_logical_emit_message(true, '', '')") // a commit, so that the log is not empty
	rows := sql(tb, server, "SELECT count(*) - 1 FROM pg_get_wal_records_info('"+position+"', pg_current_wal_flush_lsn()) "+
		"WHERE resource_manager = 'Transaction' AND record_type = 'COMMIT'")
	_, err := fmt.Sscan(rows, &n)
	require.NoError(tb, err)
	return n
}

func sql(tb testing.TB, server *pgtest.Server, query string) string {
	rows, err := server.SQL(query)
	require.NoError(tb, err)
	return rows
}
