package ledger_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/ledger"
	"github.com/seawall-go/seawall/internal/chaos/limits"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

var update = flag.Bool("update", false, "write the documents of the repository, and those of the example")

const root = "../../.."

// TestMain writes the documents before a test reads them.
func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		if err := errors.Join(publish(), writeExample()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// publish writes the documents of the repository.
func publish() error {
	l, err := ledger.Read(filepath.Join(root, ledger.File))
	if err != nil {
		return err
	}
	return l.Publish(root)
}

// writeExample writes the files of the example.
func writeExample() error {
	l := example()
	files, err := exampleFiles(l)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join("testdata/example", name), content, 0o644); err != nil {
			return err
		}
	}
	return l.Write("testdata/example/ledger.json")
}

// exampleFiles returns the documents of the example. Only the lines of docs/SEMANTICS.md that have
// numbers are part of it, so that its words can change.
func exampleFiles(l *ledger.Ledger) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, "docs/SEMANTICS.md"))
	if err != nil {
		return nil, err
	}
	documents, err := l.Documents(text)
	files := make(map[string][]byte)
	for name, content := range documents {
		if name == "docs/SEMANTICS.md" {
			lines := slices.DeleteFunc(bytes.SplitAfter(content, []byte("\n")), func(line []byte) bool {
				return !bytes.Contains(line, []byte(" *("))
			})
			content = bytes.Join(lines, nil)
		}
		files[filepath.Base(name)] = content
	}
	return files, err
}

// example returns a ledger with random numbers.
func example() *ledger.Ledger {
	rng := rand.New(rand.NewPCG(1, 2))
	l := &ledger.Ledger{
		Seed: 7, Duration: time.Hour, Began: time.Date(2026, 11, 30, 4, 5, 6, 0, time.UTC),
		Machine:  "an example without a machine: all numbers are random",
		Versions: map[string]string{"Go": "go1.26.8", "redis": "Redis 7.0.15", "postgresql": "PostgreSQL 15.18", "sqlite": "SQLite 3.50.4", "commit": "0123456789ab"},
		Limits:   limited(rng),
		BrownOut: brownedOut(rng),
	}
	for _, b := range service.Bugs() {
		after := time.Duration(rng.ExpFloat64() * 5e9).Round(time.Millisecond)
		l.Planted = append(l.Planted, ledger.Planted{
			Bug: b.Name, Store: b.Store, Check: check.DuplicateEffect, After: after, Keys: int(after.Seconds() * 300),
		})
	}
	for range 2 {
		for _, name := range []string{
			stores.SQLite, stores.Redis, stores.Memory, stores.RedisCluster, stores.RedisFailover, stores.PostgreSQL,
		} {
			l.Add(episode(rng, name))
		}
	}
	return l
}

func limited(rng *rand.Rand) *limits.Result {
	r := &limits.Result{
		Seed: 7, Took: time.Minute, Requests: 123456, Admitted: 34567, Denied: 67890, Local: 1234, LocalDenied: 2345,
		Open: 345, Unavailable: 456, Waits: 78,
		Faults:  map[string]limits.Fault{"redis killed": {Times: 7, Requests: 88}, "link silent": {Times: 9, Requests: 77}},
		Planted: []limits.Planted{{Bug: "a refund is given twice", Check: "more admitted than the bucket can have held", After: 3 * time.Second}},
	}
	for i, name := range []string{"share", "local", "open", "closed", "settled", "alone"} {
		a := limits.Arm{
			Name: name, OnFailure: []string{"FailLocal", "FailLocal", "FailOpen", "FailClosed", "FailClosed", "FailClosed"}[i],
			Processes: []int{3, 1, 1, 1, 1, 1}[i], Keys: 3, Burst: 30, Rate: 40,
			Tightest: []limits.Tightest{
				{Bucket: "rule " + name, Window: 1200 * time.Millisecond, Admitted: 77, Allowed: 78},
				{Bucket: "rule " + name, Window: 300 * time.Millisecond, Admitted: 12, Allowed: 15},
			}[:1+i%2],
		}
		for second := range 60 {
			s := limits.Second{Offered: 60 + rng.IntN(40), Redis: 35 + rng.IntN(5)}
			if second%17 > 13 {
				s.Redis, s.Local = 0, 20+rng.IntN(10)
			}
			a.Seconds = append(a.Seconds, s)
		}
		r.Arms = append(r.Arms, a)
	}
	return r
}

func brownedOut(rng *rand.Rand) *brownout.Result {
	r := &brownout.Result{Seed: 7}
	for _, name := range brownout.Scenarios() {
		s := brownout.Scenario{Name: name, Healthy: 4, Trouble: 10, After: 8, Tries: 1}
		for _, arm := range []brownout.Arm{
			{Name: brownout.NoRetries, Good: 4000, Load: 1, Recovered: true, Recovery: 1.2},
			{Name: brownout.Seawall, Good: 4100, Load: 1.04, Recovered: true, Recovery: 1.4},
			{Name: brownout.Retryable, Good: 3000, Load: 4.1},
			{Name: brownout.Failsafe, Good: 3500, Load: 2.6, Recovered: true, Recovery: 3.7},
		} {
			arm.Calls = 7700
			if arm.Name == brownout.Seawall {
				arm.Opened = 5
			}
			for second := range 22 {
				of := brownout.Second{Calls: 350, Attempts: 330 + rng.IntN(40), Good: 330 + rng.IntN(40)}
				if second >= 4 && second < 15+int(arm.Recovery) {
					of.Attempts, of.Good = int(arm.Load*float64(of.Attempts)), 30+rng.IntN(20)
				}
				of.Arrived = of.Attempts
				arm.Attempts += of.Attempts
				arm.Arrived += of.Arrived
				arm.Seconds = append(arm.Seconds, of)
			}
			s.Arms = append(s.Arms, arm)
		}
		r.Scenarios = append(r.Scenarios, s)
	}
	return r
}

func episode(rng *rand.Rand, store string) ledger.Episode {
	e := ledger.Episode{
		Seed: rng.Uint64(), Store: store,
		Took: time.Minute + time.Duration(rng.IntN(60e9)),
		Periods: map[string]int{
			"s1.1: kill": 10 + rng.IntN(9), "s2.3: kill": 10 + rng.IntN(9), "s1.2: stop": rng.IntN(9), "c1: kill": rng.IntN(5), "clients-s2: slow": rng.IntN(5),
		},
	}
	if store != stores.Memory {
		e.Periods["store 1: kill"] = rng.IntN(3)
		e.Periods["s1-store: slow"] = 1 + rng.IntN(9)
		e.Periods["s2-store: silent"] = 1 + rng.IntN(9)
	}
	r := &e.Result
	r.Keys = 5000 + rng.IntN(3000)
	r.Calls = r.Keys * 13 / 10
	r.Attempts = r.Calls * 11 / 10
	r.Duplicates = map[string]int{"plain: process died": 10 + rng.IntN(50), "plain: answered 5xx": 10 + rng.IntN(50)}
	for range r.Keys {
		wait := time.Duration(float64(3*time.Millisecond) * (1 + rng.ExpFloat64()))
		if rng.IntN(30) == 0 {
			wait += time.Duration(float64(700*time.Millisecond) * rng.ExpFloat64())
		}
		if rng.IntN(2000) == 0 && store != stores.Memory {
			wait += time.Duration(float64(5*time.Second) * rng.ExpFloat64())
		}
		r.Unavailable.Add(int64(wait))
	}
	for _, cell := range cellsOf(store) {
		c := check.Count{Cell: cell, Hits: 5 + int(40*rng.ExpFloat64())}
		c.Keys = c.Hits * 2 / 3
		c.First = map[string]int{"none": c.Keys}
		least, most := 1, 1
		if p := check.PromiseFor(store, cell); p != nil {
			least, most = p.Min, p.Max
		}
		other := 0
		if least != most {
			other = c.Keys / (2 + rng.IntN(3))
		}
		switch {
		case most > 1:
			c.Effects = [3]int{0, c.Keys - other, other}
		default:
			c.Effects = [3]int{other, c.Keys - other, 0}
		}
		c.Final = map[string]int{"201": c.Keys}
		r.Cells = append(r.Cells, c)
	}
	return e
}

// cellsOf returns what can be hit with a store.
func cellsOf(store string) []check.Cell {
	ways := []history.Way{history.Plain, history.BeginEffect, history.DerivedKey}
	if store == stores.PostgreSQL || store == stores.SQLite {
		ways = append(ways, history.Executor, history.FinishTx, history.BeginEffectTx)
	}
	var cells []check.Cell
	for _, way := range ways {
		for _, a := range service.Failpoints(way) {
			if a.Suits(store) {
				cells = append(cells, check.Cell{Way: way, Window: a.Window, Action: a.Action})
			}
		}
		for _, a := range []history.Action{
			history.Unsent, history.Half, history.Cut, history.DropReply, history.Delay, history.Duplicate,
		} {
			cells = append(cells, check.Cell{Way: way, Window: history.OnTheWay, Action: a})
		}
	}
	return cells
}

func TestExampleGivesItsDocuments(t *testing.T) {
	t.Parallel()
	l, err := ledger.Read("testdata/example/ledger.json")
	require.NoError(t, err)

	files, err := exampleFiles(l)

	require.NoError(t, err)
	for name, content := range files {
		same(t, filepath.Join("testdata/example", name), content)
	}
}

func TestExampleIsWrittenAndRead(t *testing.T) {
	t.Parallel()
	l := example()
	path := filepath.Join(t.TempDir(), "ledger.json")

	require.NoError(t, l.Write(path))
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	read, err := ledger.Read(path)

	require.NoError(t, err)
	require.Equal(t, l, read)
	same(t, "testdata/example/ledger.json", written)
}

func TestLongFindingIsKept(t *testing.T) {
	t.Parallel()
	detail := strings.Repeat(`run "s1.1-7" ends: {released}, [1, 2]`+"\n", 20)
	l := &ledger.Ledger{Findings: []ledger.Finding{{Finding: check.Finding{Check: check.LostEffect, Detail: detail}}}}
	path := filepath.Join(t.TempDir(), "ledger.json")

	require.NoError(t, l.Write(path))
	read, err := ledger.Read(path)

	require.NoError(t, err)
	require.Equal(t, l.Findings, read.Findings)
}

func TestFileWithUnknownFieldsIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"Seeds": [7]}`), 0o644))

	_, err := ledger.Read(path)

	require.ErrorContains(t, err, "Seeds")
}

func TestCommittedDocumentsFollowFromCommittedLedger(t *testing.T) {
	t.Parallel()
	l, err := ledger.Read(filepath.Join(root, ledger.File))
	require.NoError(t, err)

	documents, err := l.Documents(semantics(t))

	require.NoError(t, err)
	for name, content := range documents {
		same(t, filepath.Join(root, name), content)
	}
}

func TestOrderOfEpisodesAndLedgersDoesNotMatter(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	episodes := []ledger.Episode{
		episode(rng, stores.SQLite), episode(rng, stores.Redis), episode(rng, stores.Redis), episode(rng, stores.Memory),
	}
	var forward, backward, first, second ledger.Ledger

	for _, e := range episodes {
		forward.Add(e)
	}
	for _, e := range slices.Backward(episodes) {
		backward.Add(e)
	}
	first.Add(episodes[0])
	first.Add(episodes[1])
	second.Add(episodes[2])
	second.Add(episodes[3])
	first.Merge(&second)

	require.Equal(t, forward, first)
	require.Equal(t, forward.Stores, backward.Stores)
	require.Equal(t, stores.Memory, forward.Stores[0].Name)
	require.Equal(t, episodes[1].Result.Keys+episodes[2].Result.Keys, forward.Stores[1].Keys)
	require.Equal(t, 2, forward.Stores[1].Episodes)
	require.Equal(t, stores.SQLite, forward.Stores[2].Name)
}

// semantics returns the committed docs/SEMANTICS.md.
func semantics(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/SEMANTICS.md"))
	require.NoError(t, err)
	return text
}

// same fails if a file has another content.
func same(t *testing.T, path string, content []byte) {
	t.Helper()
	committed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, committed), "%s is not what the ledger gives: go test ./ledger -update", path)
}
