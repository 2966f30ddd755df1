package chaos_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/ledger"
	"github.com/seawall-go/seawall/internal/chaos/limits"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

var (
	duration = flag.Duration("chaos", time.Minute, "how long the nemesis works, on all stores together")
	seed     = flag.Uint64("seed", 1, "of the schedule; if 0, it is chosen at random")
	only     = flag.Int("episode", -1, "run only the episode with this number, from 0")
	keep     = flag.String("keep", "", "a folder for the histories of all episodes, which are large")
	again    = flag.String("again", "", "a folder of -keep: its histories are checked again, and there is no attack")
	out      = flag.String("ledger", "", "a file for the ledger; the run then includes rate limits and the brown-out")
)

const (
	// longest is how long episodes last if the run is long. Those of a shorter run last less than
	// twice as long. The history of an episode must fit into memory.
	longest = 90 * time.Second

	// budget is how long a planted bug may stay hidden.
	budget = 2 * time.Minute

	// How often a run must hit each window, and a run for the ledger each failpoint.
	minHits, minHitsOfLedger = 3, 20
)

// workers returns how many calls of a client can be under way at the same time, without too much
// load for the store. The race detector makes everything slower.
func workers(store string) int {
	n := 64
	switch store {
	case stores.Memory:
		n = 100
	case stores.PostgreSQL:
		n = 32
	case stores.SQLite:
		n = 6 // there is one writer at a time
	}
	if raceEnabled {
		n = max(n/4, 4)
	}
	return n
}

// schedule returns the episodes of a run. They depend only on the seed and on how long the run is.
func schedule(seed uint64, total time.Duration) (all []episode) {
	names := []string{stores.Memory, stores.Redis, stores.PostgreSQL, stores.SQLite, stores.RedisCluster, stores.RedisFailover}
	rounds := max(1, int(total/(time.Duration(len(names))*longest)))
	lasts := total / time.Duration(rounds*len(names))
	random := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		for _, name := range names {
			all = append(all, episode{store: name, seed: random.Uint64(), lasts: lasts, servers: 3 + random.IntN(2)})
		}
	}
	return all
}

// TestChaos is a run. "make chaos" makes a longer one, and its ledger.
func TestChaos(t *testing.T) { //nolint:paralleltest // a run takes all processors
	l := begin(t)
	t.Logf("seed %d", l.Seed)
	if *out != "" { // also if the run fails
		defer func() { require.NoError(t, l.Write(*out)) }()
	}
	t.Run("nemesis", func(t *testing.T) { testNemesis(t, l) })
	t.Run("planted bugs", func(t *testing.T) { testPlantedBugs(t, l) })
	if *out == "" {
		return
	}
	t.Run("rate limits", func(t *testing.T) {
		r := limits.Run(t, min(*duration/20, 3*time.Minute), *seed)
		l.Limits = &r
	})
	t.Run("brown-out", func(t *testing.T) {
		r := brownout.Run(t, *seed)
		l.BrownOut = &r
	})
	var failpoints []service.Arm
	for _, w := range history.Ways() {
		failpoints = append(failpoints, service.Failpoints(w)...)
	}
	require.NoError(t, l.Verify(minHitsOfLedger, failpoints))
}

// begin returns the ledger of a new run, or of one whose histories are checked again.
func begin(t *testing.T) *ledger.Ledger {
	t.Helper()
	if *again != "" {
		l, err := ledger.Read(filepath.Join(*again, runFile))
		require.NoError(t, err)
		*seed, *duration = l.Seed, l.Duration
		l.Versions["checker"] = commit()
		return l
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	l := &ledger.Ledger{Seed: *seed, Duration: *duration, Began: time.Now(), Machine: machine(), Versions: versions(t)}
	if *keep != "" {
		require.NoError(t, os.MkdirAll(*keep, 0o755))
		require.NoError(t, l.Write(filepath.Join(*keep, runFile)))
	}
	return l
}

func testNemesis(t *testing.T, l *ledger.Ledger) {
	for i, e := range schedule(l.Seed, l.Duration) {
		if *only >= 0 && i != *only {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", i, e.store), func(t *testing.T) {
			var r ledger.Episode
			if *again != "" {
				r = checked(t, filepath.Join(*again, e.name()))
			} else {
				e.hits = l.Hits()
				r = e.run(t)
			}
			l.Add(r)
			t.Logf("%d keys, %d calls, %d attempts in %v", r.Result.Keys, r.Result.Calls, r.Result.Attempts, r.Took.Round(time.Second))
			for i, f := range r.Result.Findings {
				if i == 10 {
					t.Logf("and %d more", len(r.Result.Findings)-i)
					break
				}
				t.Errorf("%s: %s (%s): %s", f.Check, f.Key, f.Way, f.Detail)
			}
			require.Empty(t, r.Leaks)
		})
	}
	if *only >= 0 {
		return
	}
	hits := make(map[history.Window]int)
	for _, s := range l.Stores {
		for _, c := range s.Cells {
			hits[c.Window] += c.Hits
		}
	}
	for _, w := range history.Windows() {
		require.GreaterOrEqual(t, hits[w], minHits, "the run says nothing about faults %s", w)
	}
}

// quick are bugs that are found soon, for a run without a ledger.
var quick = []string{"lease as retention", "mark not stored", "effect outside of the transaction", "commit repeated"}

// testPlantedBugs checks the checker: each bug of the service must be found. Without a ledger, it
// tries some of them.
func testPlantedBugs(t *testing.T, l *ledger.Ledger) {
	bugs := service.Bugs()
	random := rand.New(rand.NewPCG(*seed, 1))
	if *out == "" { // there is time for some
		bugs = slices.DeleteFunc(bugs, func(b service.Bug) bool { return !slices.Contains(quick, b.Name) })
	}
	for _, bug := range bugs {
		t.Run(bug.Name, func(t *testing.T) {
			p := find(t, bug, random)
			l.Planted = append(l.Planted, p)
			require.NotZero(t, p.After, "not found after %d keys", p.Keys)
			t.Logf("found by %q after %v and %d keys", p.Check, p.After.Round(time.Second), p.Keys)
		})
	}
}

// find runs episodes with a bug until a check finds it.
func find(t *testing.T, bug service.Bug, random *rand.Rand) ledger.Planted {
	t.Helper()
	p := ledger.Planted{Bug: bug.Name, Store: bug.Store}
	began := time.Now()
	for lasts := 3 * time.Second; time.Since(began) < budget; lasts *= 2 {
		e := episode{store: bug.Store, ways: []history.Way{bug.Way}, seed: random.Uint64(), lasts: lasts, bug: bug.Name, servers: 3}
		r := e.run(t)
		p.Keys += r.Result.Keys
		if len(r.Result.Findings) > 0 {
			p.Check, p.After = r.Result.Findings[0].Check, time.Since(began)
			break
		}
	}
	return p
}

// machine describes where the run takes place.
func machine() string {
	memory, _ := os.ReadFile("/proc/meminfo")
	var kib int
	_, _ = fmt.Sscanf(string(memory), "MemTotal: %d kB", &kib)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(string(kernel), "-")
	return fmt.Sprintf("%d processors, %d GiB of memory, Linux %s", runtime.NumCPU(), (kib+1<<19)>>20, strings.TrimSpace(release))
}

// versions returns the versions of what takes part.
func versions(t *testing.T) map[string]string {
	t.Helper()
	v := map[string]string{"Go": runtime.Version()}
	for _, name := range []string{stores.Redis, stores.PostgreSQL, stores.SQLite} {
		v[name] = stores.Version(name)
	}
	v["commit"] = commit()
	return v
}

// commit returns the commit that this program was built from.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
