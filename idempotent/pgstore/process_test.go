package pgstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// childEnv is set in a process of the test binary that does not test, but serves.
const childEnv = "PGSTORE_TEST_CHILD"

// A childSpec says what another process does. It is encoded in its environment.
type childSpec struct {
	URL         string // of the database
	SearchPath  string
	Way         way
	Point       point // where its transfers wait for a line of the standard input
	IsoLevel    pgx.TxIsoLevel
	Shift       int
	IdleTimeout time.Duration
}

// atCommit is the point of a child whose connection breaks during its commit: it does not get
// another one.
const atCommit point = "at the commit"

// runChild serves until its standard input ends. It writes its address, and a line at its point.
func runChild() {
	var spec childSpec
	must(json.Unmarshal([]byte(os.Getenv(childEnv)), &spec))
	config, err := pgxpool.ParseConfig(spec.URL)
	must(err)
	config.ConnConfig.RuntimeParams["search_path"] = spec.SearchPath
	if spec.Point == atCommit {
		var connected atomic.Bool
		config.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error {
			if connected.Swap(true) {
				<-ctx.Done()
			}
			return ctx.Err()
		}
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	must(err)
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(err)

	lines := make(chan string)
	s := newService("child", spec.Way, pool)
	s.store.IdleTimeout, s.store.Wait = spec.IdleTimeout, time.Hour
	s.tx.IsoLevel, s.shift = spec.IsoLevel, spec.Shift
	s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
		if p != spec.Point {
			return nil
		}
		_, err := tx.Exec(ctx, "SELECT 1") // takes the snapshot
		fmt.Println(p)
		<-lines
		return err
	}
	fmt.Println(l.Addr())
	go func() { _ = http.Serve(l, s) }()
	for stdin := bufio.NewScanner(os.Stdin); stdin.Scan(); {
		lines <- stdin.Text()
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A child is another process that serves.
type child struct {
	*exec.Cmd
	url   string
	stdin io.Writer
	lines *bufio.Reader // of its standard output
}

// startChild starts a process that serves.
func (b *bank) startChild(spec childSpec) *child {
	b.Helper()
	spec.SearchPath = b.searchPath()
	encoded, err := json.Marshal(spec)
	require.NoError(b, err)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(encoded))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := &child{Cmd: cmd, stdin: stdin, lines: bufio.NewReader(stdout)}
	c.url = "http://" + c.line(b.T)
	return c
}

// line returns the next line of the standard output.
func (c *child) line(t *testing.T) string {
	t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// kill is kill -9.
func (c *child) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
}

// proceed continues a process that is paused in a transfer.
func (c *child) proceed(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(c.stdin, "go\n")
	require.NoError(t, err)
	require.NoError(t, c.Process.Signal(syscall.SIGCONT))
}

// ends are the points at which a child is killed, and whether its transfer is committed.
var ends = []struct {
	name      string
	point     point
	fault     func(*pgtest.Proxy) <-chan struct{} // nil if the child stops itself
	committed bool
}{
	{name: "before its write", point: beforeWrite},
	{name: "after its write", point: afterWrite},
	{name: "after its mark", point: afterMark},
	{
		name: "before COMMIT reaches the server", point: atCommit,
		fault: func(p *pgtest.Proxy) <-chan struct{} { return p.LoseCommit("INSERT INTO transfers") },
	},
	{
		name: "before the reply to COMMIT", point: atCommit, committed: true,
		fault: func(p *pgtest.Proxy) <-chan struct{} { return p.DropCommitReply("INSERT INTO transfers") },
	},
}

// killEverywhere kills a process at all points of a transfer. Each time, it calls after with
// another service of the same way, with the key of the transfer, and whether it is committed.
func killEverywhere(t *testing.T, server *pgtest.Server, w way, after func(b *bank, other *service, key string, committed bool)) {
	t.Helper()
	for _, end := range ends {
		if end.point == afterMark && w != withBeginEffectTx && w != withFinishTx || end.committed && w == withLease {
			continue
		}
		t.Run(string(w)+", killed "+end.name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			proxy := pgtest.NewProxy(t, server.Addr)
			c := b.startChild(childSpec{URL: proxy.URL(""), Way: w, Point: end.point})
			var broken <-chan struct{}
			if end.fault != nil {
				broken = end.fault(proxy)
			}
			got := b.postTo(c.url, "key")
			if end.fault != nil {
				receive(t, broken)
			} else {
				require.Equal(t, string(end.point), c.line(t))
			}
			c.kill(t)
			require.Error(t, receive(t, got).err)
			if end.committed {
				require.Equal(t, 1, b.transfers("key"))
			}
			other := newService("other", w, b.connect(server.URL("")))
			after(b, other, "key", end.committed)
			b.check()
		})
	}
}

// The claim of a killed process does not outlive its connection: there is no lease to wait for.
func TestKilledExecutorIsReplacedImmediately(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, w := range []way{withExecutor, withExecutorAndDo} {
		killEverywhere(t, server, w, func(b *bank, other *service, key string, committed bool) {
			r := b.postUntil(other, key, http.StatusCreated) // the server notices the broken connection
			if committed {
				require.Equal(b, "child, run 1, attempt 1", r.body)
				require.Zero(b, other.runs.Load())
			} else {
				require.Equal(b, "other, run 1, attempt 1", r.body)
			}
			require.Equal(b, r.body, b.post(other, key).body)
		})
	}
}

// The claim of a killed process stays until its lease is over. What happens then depends on whether
// the transaction is committed.
func TestKilledProcessIsReplacedAfterItsLease(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, w := range []way{withBeginEffectTx, withFinishTx, withBeginEffect, withLease} {
		killEverywhere(t, server, w, func(b *bank, other *service, key string, committed bool) {
			switch {
			case w == withBeginEffect || w == withBeginEffectTx && committed:
				b.resolve(other, key, committed)
			case committed:
				require.Equal(b, response{http.StatusCreated, "child, run 1, attempt 1", true, nil}, b.post(other, key))
			default:
				require.Equal(b, http.StatusTooManyRequests, b.post(other, key).status)
				b.advance(lease)
				require.Equal(b, "other, run 1, attempt 2", b.postUntil(other, key, http.StatusCreated).body)
			}
		})
	}
}

// resolve waits until the outcome of a key is unknown, and settles it.
func (b *bank) resolve(s *service, key string, committed bool) {
	b.Helper()
	require.Equal(b, http.StatusTooManyRequests, b.post(s, key).status)
	b.advance(lease)
	r := b.postUntil(s, key, http.StatusConflict)
	require.Contains(b, r.body, "idempotency_outcome_unknown")
	store := pgstore.New(s.pool, &s.store)
	list, err := store.ListUnknown(b.Context(), idempotent.ID{}, 0)
	require.NoError(b, err)
	require.Len(b, list, 1)
	require.Equal(b, s.guard.ID(idempotent.GlobalPrincipal, key), list[0].ID)
	if committed {
		b.settle(s, key)
		return
	}
	require.NoError(b, store.Resolve(b.Context(), list[0].ID, idempotent.Completion{State: idempotent.StateAbsent}))
	require.Equal(b, "other, run 1, attempt 1", b.post(s, key).body)
}

// The server ends the session of a paused process, and a duplicate takes its place. When the
// process goes on, it cannot commit.
func TestPausedExecutorIsReplacedAfterItsIdleTimeout(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, p := range []point{beforeWrite, afterWrite} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			b := newBank(t, server.URL(""))
			c := b.startChild(childSpec{URL: server.URL(""), Way: withExecutor, Point: p, IdleTimeout: 500 * time.Millisecond})
			b.replaceWhilePaused(c, withExecutor, "other, run 1, attempt 1")
		})
	}
}

// A paused owner that was replaced cannot commit, whatever its isolation level. Its snapshot is
// older than the takeover.
func TestPausedProcessThatWasReplacedCannotCommit(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, w := range []way{withBeginEffectTx, withFinishTx} {
		for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
			t.Run(fmt.Sprintf("%s, %s", w, level), func(t *testing.T) {
				t.Parallel()
				b := newBank(t, server.URL(""))
				c := b.startChild(childSpec{URL: server.URL(""), Way: w, Point: beforeWrite, IsoLevel: level, Shift: 2})
				b.replaceWhilePaused(c, w, "other, run 1, attempt 2")
			})
		}
	}
}

// replaceWhilePaused pauses a child in a transfer until another service has made it.
func (b *bank) replaceWhilePaused(c *child, w way, want string) {
	b.Helper()
	got := b.postTo(c.url, "key")
	c.line(b.T)
	require.NoError(b, c.Process.Signal(syscall.SIGSTOP))

	b.advance(lease)
	other := newService("other", w, b.connect(b.url))
	require.Equal(b, want, b.postUntil(other, "key", http.StatusCreated).body)
	c.proceed(b.T)
	r := receive(b, got)
	require.NoError(b, r.err)
	if r.status != http.StatusCreated {
		require.GreaterOrEqual(b, r.status, 500)
	} else {
		require.Equal(b, response{http.StatusCreated, want, true, nil}, r)
	}
	require.Equal(b, response{http.StatusCreated, want, true, nil}, b.post(other, "key"))
	b.check()
}

// After BeginEffect, a paused owner is not replaced, and its late end is recorded.
func TestPausedProcessAfterBeginEffectIsNeverReplaced(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	c := b.startChild(childSpec{URL: b.url, Way: withBeginEffect, Point: beforeWrite})
	got := b.postTo(c.url, "key")
	c.line(t)
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	b.advance(lease)
	other := newService("other", withBeginEffect, b.connect(b.url))
	r := b.post(other, "key")
	require.Equal(t, http.StatusConflict, r.status)
	require.Contains(t, r.body, "idempotency_outcome_unknown")

	c.proceed(t)
	require.Equal(t, response{http.StatusCreated, "child, run 1, attempt 1", false, nil}, receive(t, got))
	require.Equal(t, response{http.StatusCreated, "child, run 1, attempt 1", true, nil}, b.post(other, "key"))
	require.Zero(t, other.runs.Load())
	b.check()
}

// A lease alone does not protect effects. After a takeover, the paused owner cannot change the
// record any more, but its transfer does not depend on that, and happens too.
func TestLeaseAloneDoesNotPreventASecondEffect(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	c := b.startChild(childSpec{URL: b.url, Way: withLease, Point: beforeWrite})
	got := b.postTo(c.url, "key")
	c.line(t)
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	b.advance(lease)
	other := newService("other", withLease, b.connect(b.url))
	want := response{http.StatusCreated, "other, run 1, attempt 2", false, nil}
	require.Equal(t, want, b.post(other, "key"))
	want.replayed = true

	c.proceed(t)
	require.Equal(t, want, receive(t, got))
	require.Equal(t, want, b.post(other, "key"))
	require.Equal(t, 2, b.transfers("key"))
}
