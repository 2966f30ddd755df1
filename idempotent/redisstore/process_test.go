package redisstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// childEnv is set in a process of the test binary that does not test, but serves. It is the address
// of Redis.
const childEnv = "REDISSTORE_TEST_CHILD"

// shared is the lease of both processes. Duplicates do not wait.
const shared = 4 * time.Second

// chargeHandler is what both processes serve. Each run counts itself in Redis under its name, and
// then calls run.
func chargeHandler(rdb *redis.Client, name string, beginEffect bool, run func()) http.Handler {
	o := &idempotent.Options{Lease: shared, Wait: -1}
	return idempotent.New(redisstore.New(rdb, nil), idempotent.Global, o)(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if beginEffect {
				if err := idempotent.BeginEffect(r.Context()); err != nil {
					http.Error(w, err.Error(), http.StatusServiceUnavailable)
					return
				}
			}
			rdb.Incr(context.WithoutCancel(r.Context()), "effects of "+name)
			run()
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "%s, attempt %d", name, idempotent.Attempt(r.Context()))
		}))
}

// runChild serves until its standard input ends. Its handler waits for the key "go". On /effect it
// calls BeginEffect first.
func runChild() {
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(childEnv)})
	wait := func() {
		for rdb.Exists(context.Background(), "go").Val() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	plain, effect := chargeHandler(rdb, "child", false, wait), chargeHandler(rdb, "child", true, wait)
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/effect" {
				effect.ServeHTTP(w, r)
				return
			}
			plain.ServeHTTP(w, r)
		}))
	}()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// child is another process that serves.
type child struct {
	cmd *exec.Cmd
	url string
}

func startChild(t *testing.T, server *redistest.Server) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+server.Addr)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return &child{cmd: cmd, url: "http://" + strings.TrimSpace(addr)}
}

// response is what a client gets, or an error.
type response struct {
	status   int
	body     string
	replayed bool
	err      error
}

// post sends a request with the key "key" to the child. The response comes on the channel.
func (c *child) post(t *testing.T, path string) <-chan response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, strings.NewReader("body"))
	require.NoError(t, err)
	r.Header.Set("Idempotency-Key", "key")
	got := make(chan response, 1)
	go func() {
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			got <- response{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		got <- response{resp.StatusCode, string(body), resp.Header.Get("Idempotent-Replayed") == "true", err}
	}()
	return got
}

// postTo sends the same request to the handler of this process.
func postTo(t *testing.T, h http.Handler, path, body string) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	require.NoError(t, err)
	w := postRequest(h, r, "key")
	return response{w.Code, w.Body.String(), w.Header().Get("Idempotent-Replayed") == "true", nil}
}

func TestKilledProcessIsReplacedAfterItsLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := client(t, server.Addr)
	mine := chargeHandler(rdb, "parent", false, func() {})
	c := startChild(t, server)
	got := c.post(t, "/charges")
	eventually(t, func() bool { return do(t, server, "GET", "effects of child") == "1" }, "the handler of the child")
	require.NoError(t, c.cmd.Process.Kill()) // kill -9
	require.Error(t, (<-got).err)

	r := postTo(t, mine, "/charges", "body") // within the lease
	require.Equal(t, http.StatusTooManyRequests, r.status, r.body)
	require.Contains(t, r.body, "idempotency_in_progress")
	r = postTo(t, mine, "/charges", "another body")
	require.Equal(t, http.StatusConflict, r.status, r.body)
	require.Contains(t, r.body, "idempotency_conflict")

	eventually(t, func() bool {
		r = postTo(t, mine, "/charges", "body")
		return r.status != http.StatusTooManyRequests
	}, "the end of the lease")
	require.Equal(t, response{http.StatusCreated, "parent, attempt 2", false, nil}, r)
	require.Equal(t, response{http.StatusCreated, "parent, attempt 2", true, nil}, postTo(t, mine, "/charges", "body"))
	r = postTo(t, mine, "/charges", "another body")
	require.Equal(t, http.StatusConflict, r.status)
	require.Equal(t, "1", do(t, server, "GET", "effects of parent"))
}

func TestKilledProcessAfterBeginEffectIsNeverReplaced(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := client(t, server.Addr)
	mine := chargeHandler(rdb, "parent", true, func() {})
	c := startChild(t, server)
	got := c.post(t, "/effect")
	eventually(t, func() bool { return do(t, server, "GET", "effects of child") == "1" }, "the handler of the child")
	require.NoError(t, c.cmd.Process.Kill())
	require.Error(t, (<-got).err)

	var r response
	eventually(t, func() bool {
		r = postTo(t, mine, "/effect", "body")
		return r.status != http.StatusTooManyRequests
	}, "the end of the lease")
	require.Equal(t, http.StatusConflict, r.status)
	require.Contains(t, r.body, "idempotency_outcome_unknown")

	s := redisstore.New(rdb, nil)
	list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	resolved := idempotent.Response{Status: http.StatusCreated, Body: []byte("resolved")}
	require.NoError(t, s.Resolve(t.Context(), list[0].ID, resolved.Completion(time.Hour)))
	require.Equal(t, response{http.StatusCreated, "resolved", true, nil}, postTo(t, mine, "/effect", "body"))
	require.Empty(t, do(t, server, "GET", "effects of parent"))
}

func TestPausedProcessThatWasReplacedChangesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := client(t, server.Addr)
	mine := chargeHandler(rdb, "parent", false, func() {})
	c := startChild(t, server)
	got := c.post(t, "/charges")
	eventually(t, func() bool { return do(t, server, "GET", "effects of child") == "1" }, "the handler of the child")
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = c.cmd.Process.Signal(syscall.SIGCONT) })

	var r response
	eventually(t, func() bool {
		r = postTo(t, mine, "/charges", "body")
		return r.status != http.StatusTooManyRequests
	}, "the end of the lease")
	want := response{http.StatusCreated, "parent, attempt 2", false, nil}
	require.Equal(t, want, r)
	id := new(idempotent.Options).ID(idempotent.GlobalPrincipal, "key")
	before := fields(t, server, id)

	do(t, server, "SET", "go", "1")
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT))
	want.replayed = true
	require.Equal(t, want, <-got) // its client gets what was recorded
	require.Equal(t, before, fields(t, server, id))
	require.Equal(t, want, postTo(t, mine, "/charges", "body"))
}
