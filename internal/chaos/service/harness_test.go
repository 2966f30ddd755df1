package service_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/pgtest"
	"github.com/seawall-go/seawall/internal/redistest"
)

// childEnv holds the config of a process of the test binary that does not test, but serves.
const childEnv = "CHAOS_SERVICE_TEST_CONFIG"

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		os.Exit(service.Main([]string{config}))
	}
	leakcheck.Main(m)
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// start starts a store, and returns what a config needs.
func start(t *testing.T, store string) service.Config {
	t.Helper()
	c := service.Config{Role: "server", Name: "s1.1", Dir: t.TempDir(), Store: store}
	switch store {
	case stores.Redis:
		c.Addrs = []string{redistest.Start(t).Addr}
	case stores.PostgreSQL:
		c.Addrs = []string{pgtest.Start(t).Addr}
	case stores.SQLite:
		c.Addrs = []string{filepath.Join(t.TempDir(), "chaos.db")}
	}
	return c
}

// fixture is a server in this process, with a provider.
type fixture struct {
	*testing.T
	config service.Config
	url    string
}

var silent = slog.New(slog.DiscardHandler)

func open(t *testing.T, c service.Config) *fixture {
	t.Helper()
	if c.Provider == "" {
		c.Provider = serve(t, service.Config{Role: "provider", Name: "provider", Dir: c.Dir})
	}
	return &fixture{t, c, serve(t, c)}
}

func serve(t *testing.T, c service.Config) (url string) {
	t.Helper()
	handler, stop, err := service.Open(t.Context(), c, silent)
	require.NoError(t, err)
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		s.CloseClientConnections() // one may still wait for an answer
		s.Close()
		stop()
	})
	return s.URL
}

// answer is a response of the server. Its status is 0 if there was none.
type answer struct {
	status   int
	code     string
	replayed bool
	body     history.Answer
	raw      string
}

func (f *fixture) send(way history.Way, key string, amount int) answer {
	return post(f.Context(), f.url+"/w/"+string(way), fmt.Sprintf(`{"amount": %d}`, amount), "alice", key)
}

func post(ctx context.Context, url, body, principal, key string) (a answer) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return a
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Principal", principal)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return a
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return a
	}
	var object struct{ Error struct{ Code string } }
	_ = json.Unmarshal(b, &object)
	a = answer{status: resp.StatusCode, code: object.Error.Code, raw: string(b)}
	a.replayed = resp.Header.Get("Idempotent-Replayed") == "true"
	_ = json.Unmarshal(b, &a.body)
	return a
}

// settle is the operator.
func (f *fixture) settle(way history.Way, key string, amount int) answer {
	return post(f.Context(), f.url+"/settle", fmt.Sprintf(`{"key": %q, "way": %q, "amount": %d}`, key, way, amount), "alice", "")
}

// arm arms a failpoint, and returns the status of the answer.
func (f *fixture) arm(a service.Arm) (status int) {
	f.Helper()
	b, err := json.Marshal(a)
	require.NoError(f, err)
	return post(f.Context(), f.url+"/chaos/arm", string(b), "alice", "").status
}

// sendUntilHit sends requests until no arm waits.
func (f *fixture) sendUntilHit(way history.Way, key string) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		f.send(way, key, 5)
		var v service.Vitals
		resp, err := http.Get(f.url + "/chaos/vitals")
		if err != nil {
			continue
		}
		err = json.NewDecoder(resp.Body).Decode(&v)
		_ = resp.Body.Close()
		if err == nil && v.Armed == 0 {
			return
		}
	}
}

// history returns what has happened so far.
func (f *fixture) history() *history.History {
	f.Helper()
	h, err := history.Read(filepath.Join(f.config.Dir, "*.jsonl"))
	require.NoError(f, err)
	return h
}

// effects returns the runs that have made an effect of alice's key.
func (f *fixture) effects(way history.Way, key string) (runs []string) {
	f.Helper()
	if way.Transactional() {
		return f.rows("alice/" + key)
	}
	for _, e := range f.history().Effects {
		if e.Key == "alice/"+key {
			runs = append(runs, e.Run)
		}
	}
	return runs
}

// until sends requests until one is answered with the status.
func (f *fixture) until(status int, send func() answer) answer {
	f.Helper()
	var last answer
	require.Eventually(f, func() bool {
		last = send()
		return last.status == status
	}, patience, 20*time.Millisecond, "the last answer: %+v", &last)
	return last
}

// write sends a request until its effect is answered: a loaded machine can be too slow for a
// store's timeout.
func (f *fixture) write(way history.Way, key string, amount int) answer {
	f.Helper()
	return f.until(http.StatusCreated, func() answer { return f.send(way, key, amount) })
}

// process is a server in another process.
type process struct {
	*fixture
	cmd *exec.Cmd
}

func launch(t *testing.T, c service.Config) *process {
	t.Helper()
	c.Addr = "127.0.0.1:0"
	if c.Provider == "" {
		c.Provider = serve(t, service.Config{Role: "provider", Name: "provider", Dir: c.Dir})
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+c.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return &process{&fixture{t, c, "http://" + strings.TrimSpace(addr)}, cmd}
}
