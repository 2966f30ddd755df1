package bloat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// size is the size of a table or an index.
type size struct {
	name  string
	bytes int64
	live  int64 // rows of a table, as PostgreSQL estimates them
	dead  int64
	runs  int64 // of autovacuum
}

type sizes []size

func (all sizes) String() string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%-30s %8.1f MB", s.name, float64(s.bytes)/1e6)
		if s.live+s.dead+s.runs > 0 {
			fmt.Fprintf(&b, "  %d rows, %d dead ones, %d runs of autovacuum", s.live, s.dead, s.runs)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func querySizes(ctx context.Context, pool *pgxpool.Pool) (sizes, error) {
	rows, _ := pool.Query(ctx, `
		SELECT c.relname, CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END,
			coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0), coalesce(s.autovacuum_count, 0)
		FROM pg_class AS c LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid
		WHERE c.relname LIKE 'idempotency%' AND c.relkind IN ('r', 'i') ORDER BY c.relkind DESC, c.relname DESC`)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s size, err error) { // it returns the error
		return s, row.Scan(&s.name, &s.bytes, &s.live, &s.dead, &s.runs)
	})
}

func sizeOf(ctx context.Context, tb testing.TB, pool *pgxpool.Pool) sizes {
	all, err := querySizes(ctx, pool)
	require.NoError(tb, err)
	return all
}

// sampling notes the sizes five times a second.
type sampling struct {
	tb      testing.TB
	samples []sizes
	end     func() error
}

func startSampling(tb testing.TB, pool *pgxpool.Pool) *sampling {
	s := &sampling{tb: tb}
	s.end = every(tb, 200*time.Millisecond, func(ctx context.Context) error {
		all, err := querySizes(ctx, pool)
		s.samples = append(s.samples, all)
		return err
	})
	return s
}

// stop ends the sampling and describes the second half of the samples.
func (s *sampling) stop() string {
	require.NoError(s.tb, s.end())
	late := s.samples[len(s.samples)/2:]
	if len(late) == 0 {
		return "no samples"
	}
	var b strings.Builder
	for i, first := range late[0] {
		column := func(of func(size) int64) (median, most int64) {
			var values []int64
			for _, sample := range late {
				values = append(values, of(sample[i]))
			}
			slices.Sort(values)
			return values[len(values)/2], values[len(values)-1]
		}
		median, most := column(func(s size) int64 { return s.bytes })
		fmt.Fprintf(&b, "%-30s %8.1f MB (%.1f)", first.name, float64(median)/1e6, float64(most)/1e6)
		if _, runs := column(func(s size) int64 { return s.runs }); runs > 0 {
			live, mostLive := column(func(s size) int64 { return s.live })
			dead, mostDead := column(func(s size) int64 { return s.dead })
			fmt.Fprintf(&b, "  %d rows (%d), %d dead ones (%d), %d runs of autovacuum", live, mostLive, dead, mostDead, runs)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
