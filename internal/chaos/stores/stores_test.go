package stores_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/stores"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// patience is how long a fault may take to be seen.
const patience = 20 * time.Second

// A client is that of a server: it writes and reads values, and asks for the store's time.
type client interface {
	write(ctx context.Context, key string) error
	read(ctx context.Context, key string) error
	now(ctx context.Context) (time.Time, error)
}

// Every fault is seen by the client of a server, and nothing that was confirmed is lost by it. No
// fault is long enough here for a failover.
func TestEveryFaultIsSeenAndHeals(t *testing.T) {
	t.Parallel()
	for _, name := range []string{stores.Redis, stores.RedisCluster, stores.RedisFailover, stores.PostgreSQL, stores.SQLite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stores.Start(t, name, 2)
			c := connect(t, s)
			var confirmed []string
			tried := 0
			write := func(ctx context.Context) error {
				tried++
				key := fmt.Sprintf("key%d", tried)
				err := c.write(ctx, key)
				if err == nil {
					confirmed = append(confirmed, key)
				}
				return err
			}
			for _, f := range s.Faults {
				if strings.HasPrefix(f.Target, "s1-") {
					continue // it is not on the way of this client
				}
				began := time.Now()
				require.NoError(t, f.Begin(), f.Kind)
				require.Eventually(t, func() bool { return seen(c, write) }, patience, time.Millisecond, "%s of %s", f.Kind, f.Target)
				saw := time.Since(began)
				require.NoError(t, f.End(), f.Kind)
				require.NoError(t, s.Heal(), f.Kind)
				t.Logf("%s of %s: seen after %v, healed after %v", f.Kind, f.Target, saw, time.Since(began)-saw)
				require.Eventually(t, func() bool { return !seen(c, write) }, patience, 10*time.Millisecond, "%s of %s", f.Kind, f.Target)
			}
			for _, key := range confirmed {
				require.NoError(t, c.read(t.Context(), key))
			}
		})
	}
}

// A master that is killed, and does not come back, is replaced. Later it is a replica.
func TestKilledMasterIsReplaced(t *testing.T) {
	t.Parallel()
	s := stores.Start(t, stores.RedisFailover, 1)
	c := connect(t, s)
	writes := func() bool {
		for i := range 50 { // to all masters
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := c.write(ctx, fmt.Sprintf("key%d", i))
			cancel()
			if err != nil {
				return false
			}
		}
		return true
	}
	require.Eventually(t, writes, patience, 10*time.Millisecond)
	for range 2 { // the second time, the first one's place is taken by the killed one
		for _, f := range s.Faults {
			if f.Kind == "kill" {
				require.NoError(t, f.Begin())
				require.Eventually(t, func() bool { return !writes() }, patience, time.Millisecond)
				require.Eventually(t, writes, patience, 10*time.Millisecond)
				require.NoError(t, f.End())
				break
			}
		}
		require.NoError(t, s.Heal())
	}
}

// dies is the environment variable of a process that is killed while it has a store.
const dies = "CHAOS_STORES_TEST_DIES"

func TestDiskVanishesWithItsProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv(dies) != "" {
		fmt.Println("the file: " + stores.Start(t, stores.SQLite, 1).Addrs(0)[0])
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), dies+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.Output()
	require.Error(t, err)
	_, file, ok := strings.Cut(strings.TrimSpace(string(out)), "the file: ")
	require.True(t, ok, "%s", out)
	require.Eventually(t, func() bool {
		mounts, err := os.ReadFile("/proc/self/mounts")
		return err == nil && !strings.Contains(string(mounts), filepath.Dir(file))
	}, patience, 10*time.Millisecond)
}

func TestVersionNamesTheStore(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{
		stores.Memory:        `^go1\.\d+`,
		stores.Redis:         `^Redis \d+\.\d+\.\d+$`,
		stores.RedisCluster:  `^Redis \d+\.\d+\.\d+$`,
		stores.RedisFailover: `^Redis \d+\.\d+\.\d+$`,
		stores.PostgreSQL:    `^PostgreSQL \d+\.\d+$`,
		stores.SQLite:        `^SQLite 3\.\d+\.\d+ via modernc.org/sqlite v1\.\d+\.\d+$`,
	} {
		require.Regexp(t, pattern, stores.Version(name))
	}
}

// seen reports whether the store is in trouble: several writes in a row include an error or one
// that takes long, or the store's clock differs from that of the test.
func seen(c client, write func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	for range 5 {
		if write(ctx) != nil {
			return true
		}
	}
	now, err := c.now(ctx)
	return err != nil || time.Since(now).Abs() > time.Second
}

func connect(t *testing.T, s *stores.Store) client {
	t.Helper()
	addrs, via := s.Addrs(0), s.Via(0)
	switch s.Name {
	case stores.PostgreSQL:
		return &pgClient{url: addrs[0]}
	case stores.SQLite:
		db, err := sql.Open("sqlite", "file:"+addrs[0]+"?_pragma=busy_timeout(50)")
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return sqliteClient{db}
	default:
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if p, ok := via[addr]; ok {
				addr = p
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		var r redis.UniversalClient
		if via == nil {
			r = redis.NewClient(&redis.Options{Addr: addrs[0], Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1})
		} else {
			r = redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: addrs, Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1,
				MaxRedirects:               1,
				ClusterStateReloadInterval: time.Second, // an error of the network is no reason for go-redis to look for a new master
			})
		}
		t.Cleanup(func() { _ = r.Close() })
		return redisClient{r}
	}
}

type redisClient struct{ redis.UniversalClient }

func (c redisClient) write(ctx context.Context, key string) error {
	return c.Set(ctx, key, strings.Repeat("x", 4<<10), 0).Err()
}
func (c redisClient) read(ctx context.Context, key string) error { return c.Get(ctx, key).Err() }
func (c redisClient) now(ctx context.Context) (time.Time, error) { return c.Time(ctx).Result() }

// A pgClient has a connection until it fails.
type pgClient struct {
	url  string
	conn *pgx.Conn
}

func (c *pgClient) do(ctx context.Context, f func(*pgx.Conn) error) (err error) {
	if c.conn == nil {
		if c.conn, err = pgx.Connect(ctx, c.url); err != nil {
			return err
		}
	}
	if err = f(c.conn); err != nil {
		_ = c.conn.Close(ctx)
		c.conn = nil
	}
	return err
}

func (c *pgClient) write(ctx context.Context, key string) error {
	return c.do(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO effects VALUES ($1, 'way', 1, $2)", key, strings.Repeat("x", 4<<10))
			if err == nil {
				_, err = tx.Exec(ctx, `INSERT INTO idempotency_records (id, fingerprint, scope, state, attempt, effect, claimed_at, expires_at)
					VALUES (sha256($1::bytea), '', '', 'running', 1, false, now(), now())`, key)
			}
			return err
		})
	})
}

func (c *pgClient) read(ctx context.Context, key string) error {
	return c.do(ctx, func(conn *pgx.Conn) error {
		var n int
		err := conn.QueryRow(ctx, "SELECT count(*) FROM effects WHERE key = $1", key).Scan(&n)
		if err == nil && n == 0 {
			err = errors.New("lost")
		}
		return err
	})
}

func (c *pgClient) now(ctx context.Context) (now time.Time, err error) {
	err = c.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	})
	return now, err
}

type sqliteClient struct{ *sql.DB }

func (c sqliteClient) write(ctx context.Context, key string) error {
	_, err := c.ExecContext(ctx, "INSERT INTO effects VALUES (?, 'way', 1, ?)", key, strings.Repeat("x", 4<<10))
	return err
}

func (c sqliteClient) read(ctx context.Context, key string) error {
	var n int
	return c.QueryRowContext(ctx, "SELECT 1 FROM effects WHERE key = ?", key).Scan(&n)
}

// now fails if a reader holds up checkpoints. The clock is that of this process.
func (c sqliteClient) now(ctx context.Context) (time.Time, error) {
	var busy, log, done int
	err := c.QueryRowContext(ctx, "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &log, &done)
	if err == nil && busy != 0 {
		err = errors.New("busy")
	}
	return time.Now(), err
}
