package modeltest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// postgresClock is the time of the schema "model". It stands still while calls are under way. The
// function clock_timestamp of the schema hides that of PostgreSQL. It returns the time at which the
// connection was taken from its pool, also for a call that takes effect after its client has gone.
type postgresClock struct {
	calls sync.RWMutex // held for reading by calls
	now   atomic.Int64 // in nanoseconds
}

const createClock = `CREATE SCHEMA model;
	CREATE FUNCTION model.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
	AS $$SELECT '2030-01-01'::timestamptz + current_setting('model.now')::bigint * interval '1 microsecond'$$`

func (c *postgresClock) time() time.Duration { return time.Duration(c.now.Load()) }

func (c *postgresClock) sleep(d time.Duration) {
	c.calls.Lock()
	c.now.Add(int64(d))
	c.calls.Unlock()
	time.Sleep(time.Millisecond) // let others run
}

// set sets the time of a connection.
func (c *postgresClock) set(ctx context.Context, conn *pgx.Conn) (bool, error) {
	_, err := conn.Exec(ctx, fmt.Sprintf("SET model.now = %d", c.time().Microseconds()))
	return err == nil, err
}

// pool returns a pool of connections to the schema.
func (c *postgresClock) pool(t *testing.T, url, mode string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url + "&pool_max_conns=2&connect_timeout=5&default_query_exec_mode=" + mode)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["search_path"] = "model, pg_catalog"
	config.PrepareConn = c.set
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// until repeats f until it succeeds.
func until(f func() error) {
	for f() != nil {
		time.Sleep(10 * time.Millisecond)
	}
}

// postgresHistory returns the operations of several owners of one record in PostgreSQL, with a pool
// each.
func postgresHistory(t *testing.T, clock *postgresClock, direct *pgxpool.Pool, pools []*pgxpool.Pool, seed uint64) (ops []porcupine.Operation) {
	t.Helper()
	o := &pgstore.Options{Prefix: fmt.Sprintf("model%d_", seed)}
	until(func() error { return pgstore.Migrate(t.Context(), direct, o) })
	r := &recorder{now: clock.time, sleep: clock.sleep, during: clock.calls.RLocker()}
	var wg sync.WaitGroup
	for owner, pool := range pools {
		random := rand.New(rand.NewPCG(seed, uint64(owner)))
		wg.Go(func() { play(t.Context(), r, pgstore.New(pool, o), owner, random) })
	}
	sweeper := pgstore.New(direct, o)
	wg.Go(func() {
		for range 20 {
			_, _ = sweeper.Sweep(t.Context(), 0)
			time.Sleep(5 * time.Millisecond)
		}
	})
	wg.Wait()
	ops = r.ops
	for i := range ops { // a call without a reply may take effect later
		if lost(ops[i].Output.(result).err) {
			ops[i].Return = 1 << 40
		}
	}
	return ops
}

// disturbPostgres causes a random fault from time to time, until done is closed.
func disturbPostgres(server *pgtest.Server, proxy *pgtest.Proxy, random *rand.Rand, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-time.After(time.Duration(5+random.IntN(40)) * time.Millisecond):
		}
		switch random.IntN(12) {
		default:
			proxy.DropCommitReply("")
		case 0, 1, 2:
			proxy.SetDown(true)
			proxy.SetDown(false)
		case 3, 4, 5:
			proxy.LoseCommit("")
		case 6:
			server.Kill()
			if err := server.Run(); err != nil {
				return err
			}
		case 7:
			server.Pause()
			time.Sleep(5 * time.Millisecond)
			server.Resume()
		}
	}
}

// The server loses connections, commits and their replies, and is killed. A record has two tables,
// and each operation takes several statements: they must look like one step.
func TestPostgreSQLFollowsTheModel(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	if _, err := server.SQL(createClock); err != nil {
		t.Fatal(err)
	}
	proxy := pgtest.NewProxy(t, server.Addr)
	clock := new(postgresClock)
	direct := clock.pool(t, server.URL(""), "simple_protocol")
	var pools []*pgxpool.Pool
	for _, mode := range []string{"cache_statement", "cache_statement", "exec", "simple_protocol"} {
		pools = append(pools, clock.pool(t, proxy.URL(""), mode))
	}
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- disturbPostgres(server, proxy, rand.New(rand.NewPCG(1, 1)), done) }()
	operations, losses, checked := 0, 0, 0
	end := time.Now().Add(8 * time.Second)
	for seed := uint64(0); seed < 50 && time.Now().Before(end); seed++ {
		ops := postgresHistory(t, clock, direct, pools, seed)
		operations += len(ops)
		for _, op := range ops {
			if lost(op.Output.(result).err) {
				losses++
			}
		}
		switch porcupine.CheckOperationsTimeout(lossyModel, ops, 5*time.Second) {
		case porcupine.Ok:
			checked++
		case porcupine.Illegal:
			for _, op := range ops {
				t.Log(op.Call, op.Return, storeModel.DescribeOperation(op.Input, op.Output))
			}
			t.Fatalf("the model does not allow history %d", seed)
		}
	}
	close(done)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Fatal("no history was checked")
	}
	t.Logf("%d operations, %d without a reply; %d histories were checked", operations, losses, checked)
}
