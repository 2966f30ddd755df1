package pgstore_test

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

func TestExecutor(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			idempotenttest.RunExecutor(t, func(t *testing.T) idempotenttest.ExecutorFixture {
				return executorFixture(newBank(t, server.URL("")), server.Addr, "&default_query_exec_mode="+mode, nil)
			})
		})
	}
}

// In SERIALIZABLE transactions, the claims and records of other keys are no conflict.
func TestExecutorSerializable(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	idempotenttest.RunExecutor(t, func(t *testing.T) idempotenttest.ExecutorFixture {
		return executorFixture(newBank(t, server.URL("")), server.Addr, "", &pgstore.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.Serializable}})
	})
}

// effects is a table whose rows can make a statement or a commit fail. Each of the sequences is
// advanced once per row, and never set back by a rollback: its value 1 is a failure.
const effects = `
	CREATE TABLE effects (id bigserial PRIMARY KEY);
	CREATE SEQUENCE statement_conflict START 2;
	CREATE SEQUENCE commit_conflict START 2;
	CREATE SEQUENCE commit_refusal START 2;
	CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval(TG_ARGV[0]::regclass) = 1 THEN
			RAISE EXCEPTION 'a failure' USING ERRCODE = TG_ARGV[1];
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER statement_conflict AFTER INSERT ON effects
		FOR EACH ROW EXECUTE FUNCTION fail('statement_conflict', '40001');
	CREATE CONSTRAINT TRIGGER commit_conflict AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION fail('commit_conflict', '40001');
	CREATE CONSTRAINT TRIGGER commit_refusal AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION fail('commit_refusal', '23514')`

// executorFixture returns a fixture whose executor connects to an address, with more parameters.
func executorFixture(b *bank, addr, params string, o *pgstore.Options, change ...func(*pgxpool.Config)) idempotenttest.ExecutorFixture {
	b.exec(effects)
	proxy := pgtest.NewProxy(b.T, addr)
	change = append(change, func(c *pgxpool.Config) { c.MaxConns = 20 })
	pool := b.connect(proxy.URL("")+params, change...)
	if o == nil {
		o = new(pgstore.Options)
	}
	o.Wait = cmp.Or(o.Wait, 3*time.Second)
	fail := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT 1/0")
		return err
	}
	set := func(sequence string) func() {
		return func() { b.exec("SELECT setval($1::text::regclass, 1, false)", sequence) }
	}
	const insert = "INSERT INTO effects DEFAULT VALUES"
	return idempotenttest.ExecutorFixture{
		Executor: pgstore.NewExecutor(pool, o),
		Effect: func(ctx context.Context) error {
			_, err := pgstore.Tx(ctx).Exec(ctx, insert)
			return err
		},
		Effects:      func() int { return b.count("SELECT count(*) FROM effects") },
		Advance:      b.advance,
		Transactions: func() int { return proxy.Counts().Begins },
		Exhaust: func() (release func()) {
			var conns []*pgxpool.Conn
			for range pool.Config().MaxConns {
				c, err := pool.Acquire(context.Background())
				require.NoError(b, err)
				conns = append(conns, c)
			}
			return func() {
				for _, c := range conns {
					c.Release()
				}
			}
		},
		FailStatement: func(ctx context.Context) error { return fail(ctx, pgstore.Tx(ctx)) },
		FailAndRecover: func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pgstore.Tx(ctx), func(tx pgx.Tx) error { return fail(ctx, tx) })
		},
		ConflictStatement: set("statement_conflict"),
		ConflictCommit:    set("commit_conflict"),
		RefuseCommit:      set("commit_refusal"),
		LoseReply:         func() { proxy.DropCommitReply(insert) },
		LoseCommit:        func() { proxy.LoseCommit(insert) },
		DelayCommit:       func() { proxy.DelayCommit(insert, 100*time.Millisecond) },
	}
}
