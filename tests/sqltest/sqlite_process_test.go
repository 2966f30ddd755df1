package sqltest

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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// childEnv is set in a process of the test binary that does not test, but serves.
const childEnv = "SQLTEST_CHILD"

// A childSpec says what another process does. It is encoded in its environment.
type childSpec struct {
	Driver, DSN string
	Way         way
	Point       point  // where its transfers wait for a line of the standard input
	Statement   string // runs at the point
	Sweep       bool   // in a loop
}

// TestChild is the main function of another process. It serves until its standard input ends. It
// writes its address, and a line at its point.
func TestChild(t *testing.T) {
	t.Parallel()
	encoded := os.Getenv(childEnv)
	if encoded == "" {
		return // not another process
	}
	var spec childSpec
	require.NoError(t, json.Unmarshal([]byte(encoded), &spec))
	db := connect(t, sqliteDrivers[spec.Driver], spec.DSN, sqlstore.SQLite)
	s := newService("child", spec.Way, db.DB)
	lines := make(chan string)
	s.at = func(ctx context.Context, tx sqlstore.DBTX, p point) error {
		if p != spec.Point {
			return nil
		}
		if spec.Statement != "" {
			if _, err := tx.ExecContext(ctx, spec.Statement); err != nil {
				return err
			}
		}
		fmt.Println(p)
		<-lines
		return nil
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = http.Serve(l, s) }()
	fmt.Println(l.Addr())
	if spec.Sweep {
		go func() {
			store := sqlstore.New(db.DB, sqlstore.SQLite, &s.store)
			for range time.Tick(5 * time.Millisecond) {
				if _, err := store.Sweep(context.Background(), 0); err != nil {
					panic(err)
				}
			}
		}()
	}
	for stdin := bufio.NewScanner(os.Stdin); stdin.Scan(); {
		lines <- stdin.Text()
	}
	os.Exit(0)
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
	spec.Driver = b.driver
	if spec.DSN == "" {
		spec.DSN = b.dsn(settings)
	}
	encoded, err := json.Marshal(spec)
	require.NoError(b, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
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
	read := make(chan string, 1)
	go func() {
		line, _ := c.lines.ReadString('\n')
		read <- strings.TrimSpace(line)
	}()
	line := receive(t, read)
	require.NotEmpty(t, line)
	return line
}

// kill is kill -9.
func (c *child) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
}

// points are where a child is killed.
func points(w way) []point {
	if w == withExecutor || w == withExecutorAndDo {
		return []point{beforeWrite, betweenRows, afterWrite}
	}
	return []point{beforeWrite, betweenRows, afterWrite, afterMark, afterCommit}
}

// killEverywhere kills a process at all points of a transfer. Each time, it calls after with
// another service of the same way, with the key of the transfer, and whether it is committed.
func killEverywhere(t *testing.T, w way, after func(b *bank, other *service, key string, committed bool)) {
	t.Helper()
	eachSQLite(t, func(t *testing.T, b *bank) {
		for _, p := range points(w) {
			key := strings.ReplaceAll(string(p), " ", "-")
			c := b.startChild(childSpec{Way: w, Point: p})
			got := b.postTo(c.url, key)
			require.Equal(t, string(p), c.line(t))
			c.kill(t)
			require.Error(t, receive(t, got).err)
			require.Equal(t, p == afterCommit, b.transfers(key) == 1)
			after(b, newService("other", w, b.connect().DB), key, p == afterCommit)
		}
		b.check()
	})
}

// The claim of a killed process is rolled back by the next connection: there is no lease to wait
// for.
func TestKilledExecutorIsReplacedImmediately(t *testing.T) {
	t.Parallel()
	for _, w := range []way{withExecutor, withExecutorAndDo} {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			killEverywhere(t, w, func(b *bank, other *service, key string, _ bool) {
				r := b.post(other, key)
				require.Equal(b, response{status: http.StatusCreated, body: "other, run 1, attempt 1"}, r)
				r.replayed = w == withExecutor
				require.Equal(b, r, b.post(other, key))
			})
		})
	}
}

// The claim of a killed process stays until its lease is over. What happens then depends on
// whether the transaction is committed.
func TestKilledProcessIsReplacedAfterItsLease(t *testing.T) {
	t.Parallel()
	for _, w := range []way{withBeginEffectTx, withFinishTx, withBeginEffect} {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			killEverywhere(t, w, func(b *bank, other *service, key string, committed bool) {
				clock := b.connect()
				other.db = clock.DB
				if w == withFinishTx && committed {
					require.Equal(b, response{status: http.StatusCreated, body: "child, run 1, attempt 1", replayed: true}, b.post(other, key))
					return
				}
				require.Equal(b, http.StatusTooManyRequests, b.post(other, key).status)
				clock.advance(lease)
				if w == withBeginEffect || committed {
					b.resolve(other, key, committed)
					return
				}
				require.Equal(b, "other, run 1, attempt 2", b.postUntil(other, key, http.StatusCreated).body)
			})
		})
	}
}

// resolve settles an unknown outcome.
func (b *bank) resolve(s *service, key string, committed bool) {
	b.Helper()
	r := b.post(s, key)
	require.Equal(b, http.StatusConflict, r.status)
	require.Contains(b, r.body, "idempotency_outcome_unknown")
	store := sqlstore.New(s.db, sqlstore.SQLite, nil)
	list, err := store.ListUnknown(b.Context(), idempotent.ID{}, 0)
	require.NoError(b, err)
	require.Len(b, list, 1)
	id := s.guard.ID(idempotent.GlobalPrincipal, key)
	require.Equal(b, id, list[0].ID)
	completion := idempotent.Completion{State: idempotent.StateAbsent}
	want := response{status: http.StatusCreated, body: "other, run 1, attempt 1"}
	if committed {
		completion = idempotent.Response{Status: http.StatusCreated, Body: []byte("settled")}.Completion(time.Hour)
		want = response{status: http.StatusCreated, body: "settled", replayed: true}
	}
	require.NoError(b, store.Resolve(b.Context(), id, completion))
	require.Equal(b, want, b.post(s, key))
}

// The client does not get the reply to a committed transfer. Its retry does, from a process that
// has started meanwhile.
func TestRecordsSurviveKillAfterTheReply(t *testing.T) {
	t.Parallel()
	for _, w := range transactional {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			eachSQLite(t, func(t *testing.T, b *bank) {
				recommended := b.dsn(strings.Replace(settings, "OFF", "FULL", 1))
				c := b.startChild(childSpec{DSN: recommended, Way: w})
				want := receive(t, b.postTo(c.url, "key"))
				require.Equal(t, response{status: http.StatusCreated, body: "child, run 1, attempt 1"}, want)
				c.kill(t)
				c = b.startChild(childSpec{DSN: recommended, Way: w})
				want.replayed = true
				require.Equal(t, want, receive(t, b.postTo(c.url, "key")))
				b.check()
			})
		})
	}
}

// A process is killed after SQLite has written a part of its transaction into the file, because
// the cache was full. The next connection rolls it back with the journal.
func TestHotJournalIsRolledBack(t *testing.T) {
	t.Parallel()
	const spill = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
		INSERT INTO spilled SELECT hex(randomblob(500)) FROM n`
	for _, w := range transactional {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			eachSQLite(t, func(t *testing.T, b *bank) {
				b.db.exec(t, "CREATE TABLE spilled (text TEXT)")
				before, err := os.ReadFile(b.path)
				require.NoError(t, err)
				c := b.startChild(childSpec{
					DSN: b.dsn(settings + "&_pragma=cache_size(5)"), Way: w, Point: afterWrite, Statement: spill,
				})
				got := b.postTo(c.url, "key")
				c.line(t)
				c.kill(t)
				require.Error(t, receive(t, got).err)

				journal, err := os.Stat(b.path + "-journal")
				require.NoError(t, err)
				require.Positive(t, journal.Size())
				after, err := os.ReadFile(b.path)
				require.NoError(t, err)
				require.Greater(t, len(after), len(before)+100_000, "nothing was written into the file")

				clock := b.connect()
				clock.advance(lease)
				other := newService("other", w, clock.DB)
				require.Equal(t, http.StatusCreated, b.post(other, "key").status)
				require.Zero(t, b.db.count(t, "spilled"))
				b.check()
			}, rollback)
		})
	}
}

// Several processes make transfers in one file at the same time, and one of them sweeps all the
// time. Clients send each key to several of them, and retry.
func TestSeveralProcessesOnOneFile(t *testing.T) {
	t.Parallel()
	for _, w := range transactional {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			eachSQLite(t, func(t *testing.T, b *bank) {
				const keys = 9
				// Records that are over, for Sweep.
				s := sqlstore.New(b.db.DB, sqlstore.SQLite, nil)
				over := idempotent.Completion{State: idempotent.StateDone, Retention: time.Microsecond}
				for range 50 {
					c := newClaim()
					_, err := s.Acquire(t.Context(), c)
					require.NoError(t, err)
					require.NoError(t, s.Finish(t.Context(), c.Owner(), over))
				}
				var clients sync.WaitGroup
				for i := range 3 {
					c := b.startChild(childSpec{Way: w, Sweep: i == 0})
					for j := range keys {
						key := fmt.Sprintf("key-%d", (i*keys/3+j)%keys)
						clients.Go(func() {
							for deadline := time.Now().Add(3 * patience); ; time.Sleep(20 * time.Millisecond) {
								r := b.saw(key, send(newRequest(b.Context(), c.url, key)))
								// On a slow machine, the busy timeout may pass.
								again := r.status == http.StatusTooManyRequests || r.status >= http.StatusInternalServerError
								switch {
								case r.status == http.StatusCreated:
									return
								case !again || time.Now().After(deadline):
									t.Errorf("%s: %+v", key, r)
									return
								}
							}
						})
					}
				}
				clients.Wait()
				require.Len(t, readLedger(t, b.db.DB), keys)
				b.check()
				eventually(t, func() bool { return b.db.count(t, "idempotency_records") == keys }, "a sweep")
			})
		})
	}
}

// While a process is paused that has the lock, no other can write: SQLite has no timeout for it.
// Then they go on.
func TestPausedWriterHoldsUpAllOthers(t *testing.T) {
	t.Parallel()
	for _, w := range transactional {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			eachSQLite(t, func(t *testing.T, b *bank) {
				c := b.startChild(childSpec{Way: w, Point: afterWrite})
				got := b.postTo(c.url, "paused")
				c.line(t)
				require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
				other, clock := b.newImpatient(w, impatient)
				for _, key := range []string{"paused", "another"} {
					r := b.post(other, key)
					require.Contains(t, []int{http.StatusServiceUnavailable, http.StatusTooManyRequests}, r.status)
					require.NotEmpty(t, r.retryAfter)
				}
				_, err := io.WriteString(c.stdin, "go\n")
				require.NoError(t, err)
				require.NoError(t, c.Process.Signal(syscall.SIGCONT))
				want := receive(t, got)
				require.Equal(t, response{status: http.StatusCreated, body: "child, run 1, attempt 1"}, want)
				want.replayed = true
				require.Equal(t, want, b.retry(other, clock, "paused"))
				b.retry(other, clock, "another")
				b.check()
			})
		})
	}
}

// A paused owner that was replaced, and whose transaction has not begun to write, cannot commit.
func TestPausedProcessThatWasReplacedCannotCommit(t *testing.T) {
	t.Parallel()
	for _, w := range []way{withBeginEffectTx, withFinishTx} {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			eachSQLite(t, func(t *testing.T, b *bank) {
				c := b.startChild(childSpec{
					DSN: b.dsn(strings.Replace(settings, "immediate", "deferred", 1)), Way: w, Point: beforeWrite,
				})
				got := b.postTo(c.url, "key")
				c.line(t)
				require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
				clock := b.connect()
				clock.advance(lease)
				other := newService("other", w, clock.DB)
				want := b.post(other, "key")
				require.Equal(t, response{status: http.StatusCreated, body: "other, run 1, attempt 2"}, want)
				_, err := io.WriteString(c.stdin, "go\n")
				require.NoError(t, err)
				require.NoError(t, c.Process.Signal(syscall.SIGCONT))
				r := receive(t, got)
				want.replayed = true
				if r.status != http.StatusCreated {
					require.GreaterOrEqual(t, r.status, 500)
				} else {
					require.Equal(t, want, r)
				}
				require.Equal(t, want, b.post(other, "key"))
				b.check()
			})
		})
	}
}
