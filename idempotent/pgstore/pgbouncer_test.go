package pgstore_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// startPgBouncer runs PgBouncer with transaction pooling until the test ends. It returns its
// address.
func startPgBouncer(t *testing.T, server *pgtest.Server) (addr string) {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/pgbouncer") // where Debian installs it
	}
	require.NoError(t, err, "no pgbouncer: run make deps")
	dir, err := os.MkdirTemp("", "pgbouncer") //nolint:usetesting // another user may have to enter it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = l.Addr().String()
	require.NoError(t, l.Close())
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	_, serverPort, err := net.SplitHostPort(server.Addr)
	require.NoError(t, err)
	var users strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&users, "\"test%d\" \"\"\n", i) // the schemas of newPool
	}
	list := filepath.Join(dir, "users.txt")
	require.NoError(t, os.WriteFile(list, []byte(users.String()), 0o644))
	config := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `[databases]
* = host=127.0.0.1 port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
max_client_conn = 1000
server_idle_timeout = 1
log_connections = 0
log_disconnections = 0
`, serverPort, port, list), 0o644))
	cmd := exec.CommandContext(t.Context(), path, config)
	if os.Getuid() == 0 { // PgBouncer refuses root
		nobody, err := user.Lookup("nobody")
		require.NoError(t, err)
		uid, err := strconv.Atoi(nobody.Uid)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(dir, 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	var log strings.Builder
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, "PgBouncer")
	return addr
}

// Behind a proxy with transaction pooling, each transaction can have another session.
func TestExecutorBehindPgBouncer(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	pooler := startPgBouncer(t, server)
	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			idempotenttest.RunExecutor(t, func(t *testing.T) idempotenttest.ExecutorFixture {
				b := newBank(t, server.URL(""))
				role := b.schema() // PgBouncer passes on no search_path
				b.exec("CREATE ROLE " + role + " LOGIN SUPERUSER")
				b.exec("ALTER ROLE " + role + " SET search_path = " + b.searchPath())
				f := executorFixture(b, pooler, "&default_query_exec_mode="+mode, &pgstore.Options{Wait: patience}, func(c *pgxpool.Config) {
					delete(c.ConnConfig.RuntimeParams, "search_path")
					c.ConnConfig.User = role
				})
				f.Exhaust = nil     // it would wait for long
				f.DelayCommit = nil // PgBouncer drops what a client sends before it leaves
				return f
			})
		})
	}
}
