package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/ledger"
	"github.com/seawall-go/seawall/internal/chaos/load"
	"github.com/seawall-go/seawall/internal/chaos/proxy"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// An episode is a time with one store.
type episode struct {
	store   string
	ways    []history.Way // all ways of the store if nil
	seed    uint64
	lasts   time.Duration
	bug     string
	servers int
	hits    map[service.Arm]int // of earlier episodes
}

const clients = 2

// run runs the episode and checks its history.
func (e episode) run(t *testing.T) ledger.Episode {
	t.Helper()
	began := time.Now()
	dir := e.dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := e.start(t, dir, func(err error) {
		t.Errorf("chaos: %v", err)
		cancel()
	})
	stop := n.watch(t.Context())

	n.attack(ctx, e.lasts)

	if ctx.Err() != nil { // the test itself has failed
		t.FailNow()
	}
	require.NoError(t, n.store.Heal())
	drain(t, n.clients)
	left := leaks(t, n.servers)
	stop()
	for _, p := range n.processes() {
		p.end()
	}
	effects, err := n.store.Effects(t.Context())
	require.NoError(t, err)
	for _, x := range effects {
		n.record(history.Event{Effect: &x})
	}
	about, err := json.Marshal(ledger.Episode{Seed: e.seed, Store: e.store, Took: time.Since(began), Leaks: left})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, episodeFile), about, 0o600))
	return checked(t, dir)
}

// The files of -keep beside the histories: one for the run, and one in the folder of each episode.
const runFile, episodeFile = "run.json", "episode.json"

// dir returns the folder for the history of the episode.
func (e episode) dir(t *testing.T) string {
	t.Helper()
	if *keep == "" || e.bug != "" {
		return t.TempDir()
	}
	dir := filepath.Join(*keep, e.name())
	require.NoError(t, os.Mkdir(dir, 0o755))
	return dir
}

func (e episode) name() string {
	return fmt.Sprintf("%s-%d", strings.ReplaceAll(e.store, " ", "-"), e.seed)
}

// checked checks the history in the folder of an episode.
func checked(t *testing.T, dir string) (e ledger.Episode) {
	t.Helper()
	about, err := os.ReadFile(filepath.Join(dir, episodeFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(about, &e))
	h, err := history.Read(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	e.Result = check.Check(h, check.Rules{Store: e.Store, Lease: service.Lease})
	e.Periods = make(map[string]int)
	for _, p := range h.Periods {
		if p.Kind != history.Stall {
			e.Periods[p.Target+": "+p.Kind]++
		}
	}
	return e
}

// start starts the processes of the episode.
func (e episode) start(t *testing.T, dir string, fail func(error)) *nemesis {
	t.Helper()
	own, err := history.Create(filepath.Join(dir, "nemesis.jsonl"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = own.Close() })
	n := &nemesis{
		seed: e.seed, ways: e.ways, hits: make(map[service.Arm]int), record: own.Write, fail: fail,
		store: stores.Start(t, e.store, e.servers),
	}
	maps.Copy(n.hits, e.hits)
	if n.ways == nil {
		n.ways = n.store.Ways
	}
	provider := freeAddr(t)
	n.provider = newProcess(t, n, "provider", roleService, func(int) string {
		return service.Config{Role: "provider", Name: "provider", Dir: dir, Addr: provider}.String()
	})
	var urls []string
	for i := range e.servers {
		s := &server{addr: freeAddr(t), toPay: proxy.NewTCP(t, provider)}
		s.process = newProcess(t, n, fmt.Sprintf("s%d", i), roleService, func(life int) string {
			return service.Config{
				Role: "server", Name: fmt.Sprintf("s%d.%d", i, life), Dir: dir, Addr: s.addr,
				Provider: "http://" + s.toPay.Addr, Store: e.store, Addrs: n.store.Addrs(i), Via: n.store.Via(i),
				Bug: e.bug,
			}.String()
		})
		s.proxy = proxy.NewHTTP(t, s.url, n.record)
		s.proxy.Name = s.incarnation
		if e.store != stores.Memory {
			s.proxy.Elsewhere = func() string { return n.servers[(i+1)%e.servers].url() }
		}
		n.servers = append(n.servers, s)
		urls = append(urls, s.proxy.URL)
	}
	for i := range clients {
		n.clients = append(n.clients, newProcess(t, n, fmt.Sprintf("c%d", i), roleClient, func(life int) string {
			return load.Config{
				Name: fmt.Sprintf("c%d", i), Life: life, Dir: dir, Servers: urls, Sticky: e.store == stores.Memory,
				Ways: n.ways, Workers: workers(e.store), Seed: e.seed + uint64(i),
			}.String()
		}))
	}
	return n
}

// drain lets the clients end the keys that they have started.
func drain(t *testing.T, clients []*process) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			c.letEnd()
			c.tell("drain")
			select {
			case <-c.ended:
			case <-time.After(patience):
				t.Logf("%s does not end its keys", c.name) // the checker knows which
			}
		})
	}
	all.Wait()
}

// Bounds of what a server may use when no request is left.
const (
	maxGoroutines = 200
	maxFiles      = 200
	maxHeap       = 256 << 20 // a Memory keeps its records
)

// leaks returns what the servers still use although no request is left.
func leaks(t *testing.T, servers []*server) (found []string) {
	t.Helper()
	for _, s := range servers {
		s.proxy.CloseIdleConnections()
		var v service.Vitals
		clean := func() bool {
			client := &http.Client{Timeout: patience}
			resp, err := client.Get(s.url() + "/chaos/vitals")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return json.NewDecoder(resp.Body).Decode(&v) == nil &&
				v.Goroutines <= maxGoroutines && v.Files <= maxFiles && v.HeapBytes <= maxHeap
		}
		deadline := time.Now().Add(patience)
		for !clean() && time.Now().Before(deadline) {
			time.Sleep(100 * time.Millisecond)
		}
		if v.Goroutines > maxGoroutines || v.Files > maxFiles || v.HeapBytes > maxHeap || v.Goroutines == 0 {
			found = append(found, fmt.Sprintf("%s: %+v", s.name, v))
		}
	}
	return found
}
