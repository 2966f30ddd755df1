package pgstore_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// The jobs look up the records that they are about in an index, beside many others.
func TestJobsReadOnlyTheirRecords(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	const others, over, unknown = 10_000, 20, 10
	for _, tt := range []struct {
		name  string
		job   func(context.Context, *pgstore.Store) (found int, err error)
		found int
	}{
		{"Sweep", func(ctx context.Context, s *pgstore.Store) (int, error) { return s.Sweep(ctx, 0) }, over},
		{"ListUnknown", func(ctx context.Context, s *pgstore.Store) (int, error) {
			list, err := s.ListUnknown(ctx, idempotent.ID{}, 100)
			return len(list), err
		}, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool, _ := newPool(t, server.URL(""), func(c *pgxpool.Config) {
				c.ConnConfig.RuntimeParams["enable_seqscan"] = "off" // the tables are small
				c.ConnConfig.RuntimeParams["application_name"] = t.Name()
			})
			var schema string
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT current_schema()`).Scan(&schema))
			for _, insert := range []struct {
				n              int
				state, expires string
			}{{others, "done", "1 hour"}, {over, "done", "-1 hour"}, {unknown, "unknown", "1 hour"}} {
				_, err := pool.Exec(t.Context(), `
					INSERT INTO idempotency_records (id, fingerprint, scope, state, attempt, effect, claimed_at, expires_at)
					SELECT sha256(($2::text || $3::text || n)::bytea), '', sha256('scope'), $2, 1, TRUE, now(), now() + $3::text::interval
					FROM generate_series(1, $1::int) AS n`, insert.n, insert.state, insert.expires)
				require.NoError(t, err)
			}
			_, err := pool.Exec(t.Context(), "ANALYZE idempotency_records")
			require.NoError(t, err)
			read := func() (n int) {
				pool.Reset() // a connection reports what it has read when it ends
				eventually(t, func() bool {
					rows, err := server.SQL("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" + t.Name() + "'")
					return err == nil && rows == "0"
				}, "the end of connections")
				rows, err := server.SQL("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = '" + schema + "'")
				require.NoError(t, err)
				n, err = strconv.Atoi(rows)
				require.NoError(t, err)
				return n
			}
			before := read()

			found, err := tt.job(t.Context(), pgstore.New(pool, nil))

			require.NoError(t, err)
			require.Equal(t, tt.found, found)
			require.Less(t, read()-before, others/10, "rows read from indexes")
		})
	}
}
