package pgstore_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// objects returns the names of the tables and indexes that begin with a text, with their schema
// if it is not the first one.
func (b *bank) objects(prefix string) []string {
	b.Helper()
	rows, _ := b.pool.Query(b.Context(), `SELECT c.oid::regclass::text FROM pg_class AS c
		WHERE c.relkind IN ('r', 'i') AND starts_with(c.oid::regclass::text, $1) ORDER BY 1`, prefix)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b, err)
	return names
}

func TestMigrateCreatesWhatIsMissing(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	want := []string{"some_leases", "some_leases_pkey", "some_records", "some_records_expires_at", "some_records_pkey", "some_records_unknown"}
	o := &pgstore.Options{Prefix: "some_"}
	for range 2 {
		require.NoError(t, pgstore.Migrate(t.Context(), b.pool, o))
		require.Equal(t, want, b.objects("some"))
	}
	for _, drop := range []string{"TABLE some_leases", "INDEX some_records_expires_at", "INDEX some_records_unknown", "TABLE some_records"} {
		b.exec("DROP " + drop)
		require.NoError(t, pgstore.Migrate(t.Context(), b.pool, o))
		require.Equal(t, want, b.objects("some"))
	}
}

func TestMigrateByManyProcesses(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	for _, prefix := range []string{"a_", "b_", "c_"} {
		start, errs := make(chan struct{}), make(chan error, 10)
		for range 10 {
			pool := b.connect(server.URL(""))
			go func() {
				<-start
				errs <- pgstore.Migrate(context.Background(), pool, &pgstore.Options{Prefix: prefix})
			}()
		}
		close(start)
		for range 10 {
			require.NoError(t, receive(t, errs))
		}
		require.Len(t, b.objects(prefix), 6)
	}
}

// If nothing is missing, Migrate waits for no transaction, whatever that does with the tables.
func TestMigrateWaitsForNoTransaction(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "LOCK TABLE idempotency_records, idempotency_leases IN ACCESS EXCLUSIVE MODE; SELECT pg_advisory_xact_lock(x'73656177616c6c'::bigint)")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, pgstore.Migrate(ctx, b.pool, nil))
}

// A role that may only use the tables can use the stores, and Migrate too if nothing is missing.
func TestRoleWithoutTheRightToCreate(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	schema := b.schema()
	role := schema + "_app"
	b.exec("CREATE ROLE " + role + " LOGIN")
	b.exec("GRANT USAGE ON SCHEMA " + schema + " TO " + role)
	b.exec("GRANT SELECT ON clock TO " + role)
	b.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON accounts, transfers, idempotency_records, idempotency_leases TO " + role)
	t.Cleanup(func() { b.exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
	pool := b.connect(server.URL(""), func(c *pgxpool.Config) { c.ConnConfig.User = role })
	require.NoError(t, pgstore.Migrate(t.Context(), pool, nil))
	require.ErrorContains(t, pgstore.Migrate(t.Context(), pool, &pgstore.Options{Prefix: "missing_"}), "permission denied")
	for _, w := range []way{withExecutor, withBeginEffectTx, withFinishTx} {
		s := newService("service", w, pool)
		for range 2 {
			require.Equal(t, "service, run 1, attempt 1", b.post(s, string(w)).body)
		}
	}
	b.advance(25 * time.Hour)
	n, err := pgstore.New(pool, nil).Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	b.check()
}

// Schema is for migration tools, which send the statements as they are.
func TestSchemaCanBeRunAgain(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	schema := b.schema()
	for _, prefix := range []string{"tool_", schema + ".other_"} {
		sql := "SET search_path = " + b.searchPath() + ";\n" + pgstore.Schema(&pgstore.Options{Prefix: prefix})
		for range 2 {
			_, err := server.SQL(sql)
			require.NoError(t, err)
		}
		_, name, found := strings.Cut(prefix, ".")
		if !found {
			name = prefix
		}
		require.Len(t, b.objects(name), 6)
		require.NoError(t, pgstore.Migrate(t.Context(), b.pool, &pgstore.Options{Prefix: prefix}))
		require.Len(t, b.objects(name), 6)
	}
}

// A prefix can name a schema that is not on the search path.
func TestPrefixWithASchema(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	schema := b.schema()
	b.exec("CREATE SCHEMA " + schema + "_billing")
	for _, prefix := range []string{schema + "_billing.idempotency_", schema + "_billing.x"} {
		o := pgstore.Options{Prefix: prefix}
		for range 2 {
			require.NoError(t, pgstore.Migrate(t.Context(), b.pool, &o))
		}
		require.Len(t, b.objects(prefix), 6)
		for _, w := range []way{withExecutor, withBeginEffectTx, withFinishTx} {
			s := newService("service", w, b.connect(server.URL("")))
			s.store = o
			key := prefix + "/" + strings.ReplaceAll(string(w), " ", "-")
			for range 2 {
				require.Equal(t, "service, run 1, attempt 1", b.post(s, key).body)
			}
		}
		require.Equal(t, 3, b.count("SELECT count(*) FROM "+prefix+"records"))
	}
	require.Zero(t, b.count("SELECT count(*) FROM idempotency_records"))
	b.check()
}

// Handlers for several tenants change the search path of their transaction. With a schema in the
// prefix, the record is found nevertheless.
func TestHandlerMayChangeTheSearchPath(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	for prefix, status := range map[string]int{
		b.schema() + ".idempotency_": http.StatusCreated,
		"idempotency_":               http.StatusServiceUnavailable, // rolled back
	} {
		s := newService("service", withExecutor, b.connect(server.URL("")))
		s.store.Prefix = prefix
		s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
			if p != afterWrite {
				return nil
			}
			_, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog")
			return err
		}
		for range 2 {
			require.Equal(t, status, b.post(s, prefix).status, prefix)
		}
	}
	b.check()
}

// Stores with other tables have nothing to do with each other, even if they have the same IDs. Two
// schemas can hold tables with the same names.
func TestStoresWithOtherTablesAreIndependent(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b, elsewhere := newBank(t, server.URL("")), newBank(t, server.URL(""))
	o := pgstore.Options{Prefix: "another_"}
	require.NoError(t, pgstore.Migrate(t.Context(), b.pool, &o))
	another := func(in *bank, o pgstore.Options) *service {
		s := newService("another", withExecutor, in.connect(server.URL("")))
		s.store = o
		return s
	}
	outer := newService("service", withExecutor, b.connect(server.URL("")))
	outer.at = func(_ context.Context, _ pgx.Tx, p point) error {
		if p != beforeWrite {
			return nil
		}
		// The advisory lock of the outer transaction must not count.
		require.Equal(t, http.StatusCreated, elsewhere.post(another(elsewhere, pgstore.Options{}), "key").status)
		s := another(b, o)
		s.shift = 2
		s.way = withExecutor
		require.Equal(t, http.StatusCreated, b.post(s, "key").status)
		require.Equal(t, http.StatusTooManyRequests, b.post(another(b, pgstore.Options{}), "key").status)
		return nil
	}
	require.Equal(t, response{http.StatusCreated, "service, run 1, attempt 1", false, nil}, b.post(outer, "key"))
	require.Equal(t, 2, b.transfers("key"))
	elsewhere.check()
}

// A sweep under load removes no record that is not over its retention.
func TestSweepKeepsLiveRecords(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	s := pgstore.New(b.connect(server.URL(""), func(c *pgxpool.Config) { c.MaxConns = 12 }), nil)
	var (
		writers, sweepers sync.WaitGroup
		over              = make(chan struct{})
		mu                sync.Mutex
		swept             int
	)
	for range 2 {
		sweepers.Go(func() {
			for {
				n, err := s.Sweep(context.Background(), 0)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				swept += n
				mu.Unlock()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	kept := make(chan idempotent.Claim, 1000)
	for range 4 {
		writers.Go(func() {
			c := newClaim() // the same ID is acquired again and again
			for i := range 60 {
				c.Token, c.Retention = idempotent.NewToken(), time.Microsecond
				if d, err := s.Acquire(t.Context(), c); err != nil || d.Verdict != idempotent.VerdictAcquired || d.Attempt != 1 {
					t.Errorf("Acquire returned %+v, %v", d, err)
				}
				// The retention is over, but the run is not.
				if err := s.Renew(t.Context(), c.Owner(), lease); err != nil {
					t.Errorf("Renew: %v", err)
				}
				end := done("response")
				end.Retention = time.Microsecond
				if i%3 == 0 {
					end.Retention = keep
				}
				if err := s.Finish(t.Context(), c.Owner(), end); err != nil {
					t.Errorf("Finish: %v", err)
				}
				if i%3 == 0 {
					kept <- c
					c = newClaim()
				}
			}
		})
	}
	writers.Wait()
	close(over)
	sweepers.Wait()
	close(kept)
	n := 0
	for c := range kept {
		n++
		d, err := s.Acquire(t.Context(), rival(c))
		require.NoError(t, err)
		require.Equal(t, idempotent.VerdictDone, d.Verdict)
	}
	_, err := s.Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, n, b.count("SELECT count(*) FROM idempotency_records"))
	require.Zero(t, b.count("SELECT count(*) FROM idempotency_leases"))
	require.Positive(t, swept)
}

func TestPanicsOfConstructors(t *testing.T) {
	t.Parallel()
	pool := new(pgxpool.Pool)
	for name, f := range map[string]func(){
		"nil pool":                func() { pgstore.New(nil, nil) },
		"nil pool of an Executor": func() { pgstore.NewExecutor(nil, nil) },
		"invalid prefix":          func() { pgstore.New(pool, &pgstore.Options{Prefix: "A-"}) },
		"commit query": func() {
			pgstore.NewExecutor(pool, &pgstore.Options{TxOptions: pgx.TxOptions{CommitQuery: "COMMIT"}})
		},
		"negative wait": func() { pgstore.NewExecutor(pool, &pgstore.Options{Wait: -1}) },
	} {
		require.Panics(t, f, name)
	}
}

func TestMissingTablesNameMigrate(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	pool, _ := newPool(t, server.URL(""))
	s := pgstore.NewExecutor(pool, &pgstore.Options{Prefix: "other_"})
	_, err := s.Execute(t.Context(), newClaim(), nil)
	require.ErrorContains(t, err, "call Migrate")
	_, err = s.Acquire(t.Context(), newClaim())
	require.ErrorContains(t, err, "call Migrate")
	require.Panics(t, func() { _ = pgstore.Migrate(t.Context(), nil, nil) })
}
