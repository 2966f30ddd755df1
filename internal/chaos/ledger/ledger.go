// Package ledger has the record of a chaos run, and makes the documents from it.
//
// The record is docs/chaos/ledger.json. What follows from it is docs/CHAOS.md, its plots, and the
// numbers in the tables of docs/SEMANTICS.md. To write them again:
//
//	go test ./ledger -update
package ledger

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/limits"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// A Ledger is a run, or the sum of several. The zero value is an empty one.
type Ledger struct {
	Seed     uint64        // of the first run
	Duration time.Duration // that was asked for, which the schedule depends on
	Began    time.Time
	Took     time.Duration     // of the episodes
	Machine  string            // processors, memory, kernel
	Versions map[string]string // of Go, the stores, and the commit
	Stores   []Store           // in the order of package stores
	Episodes []Summary         // in the order of Add, which is that of the schedule
	Findings []Finding
	Planted  []Planted
	Limits   *limits.Result   // nil if it was not part of the run
	BrownOut *brownout.Result // nil if it was not part of the run
}

// An Episode is a time with one store.
type Episode struct {
	Seed    uint64
	Store   string
	Took    time.Duration
	Result  check.Result
	Periods map[string]int // faults by target and kind, such as "s1.3: kill"
	Leaks   []string
}

// A Summary is one line about an Episode. Its seed repeats it.
type Summary struct {
	Seed        uint64
	Store       string
	Took        time.Duration
	Keys, Calls int
	Hits        int
}

// A Store is the sum of the episodes with one store. Its Result has no findings: see Ledger.
type Store struct {
	Name     string
	Episodes int
	Took     time.Duration
	Periods  map[string]int // faults by kind of target and kind, such as "servers: kill"
	check.Result
}

// A Finding is a broken promise, or a leak, with the episode that repeats it.
type Finding struct {
	check.Finding
	Store string
	Seed  uint64
}

// A Planted is a mistake that was put in, and the check that found it.
type Planted struct {
	Bug   string
	Store string
	Check string
	After time.Duration // 0 if it was not found
	Keys  int           // keys that were written until then
}

// leak is the Check of a Finding that is a leak.
const leak = "leak"

// Add adds an episode.
func (l *Ledger) Add(e Episode) {
	found := make([]Finding, 0, len(e.Result.Findings)+len(e.Leaks))
	for _, f := range e.Result.Findings {
		found = append(found, Finding{f, e.Store, e.Seed})
	}
	for _, text := range e.Leaks {
		found = append(found, Finding{check.Finding{Check: leak, Detail: text}, e.Store, e.Seed})
	}
	hits := 0
	for _, c := range e.Result.Cells {
		hits += c.Hits
	}
	e.Took = e.Took.Round(time.Millisecond)
	l.Merge(&Ledger{
		Took: e.Took,
		Stores: []Store{{
			Name: e.Store, Episodes: 1, Took: e.Took,
			Periods: byKind(e.Periods), Result: e.Result,
		}},
		Episodes: []Summary{{
			Seed: e.Seed, Store: e.Store, Took: e.Took, Keys: e.Result.Keys, Calls: e.Result.Calls, Hits: hits,
		}},
		Findings: found,
	})
}

// kinds are the kinds of the targets of a fault.
var kinds = []struct {
	name   string
	target *regexp.Regexp
}{
	{"ways between a server and the store", regexp.MustCompile(`^s\d+-store`)},
	{"ways between a server and the provider", regexp.MustCompile(`^s\d+-provider`)},
	{"ways between clients and a server", regexp.MustCompile(`^clients-s\d+`)},
	{"servers", regexp.MustCompile(`^s\d+`)},
	{"clients", regexp.MustCompile(`^c\d+`)},
	{"the store", regexp.MustCompile(`^store`)},
	{"the provider", regexp.MustCompile(`^provider`)},
}

// byKind returns periods by the kind of their targets.
func byKind(periods map[string]int) map[string]int {
	sums := make(map[string]int)
	for name, n := range periods {
		target, kind, _ := strings.Cut(name, ": ")
		for _, k := range kinds {
			if k.target.MatchString(target) {
				target = k.name
				break
			}
		}
		sums[target+": "+kind] += n
	}
	return sums
}

// Merge adds another ledger. What describes a run, such as its machine, stays as it is in l, unless
// l has nothing.
func (l *Ledger) Merge(other *Ledger) {
	l.Seed = cmp.Or(l.Seed, other.Seed)
	l.Duration = cmp.Or(l.Duration, other.Duration)
	if l.Began.IsZero() {
		l.Began = other.Began
	}
	l.Took += other.Took
	l.Machine = cmp.Or(l.Machine, other.Machine)
	versions := make(map[string]string)
	maps.Copy(versions, other.Versions)
	maps.Copy(versions, l.Versions)
	l.Versions = versions
	for _, s := range other.Stores {
		l.store(s.Name).merge(s)
	}
	l.Episodes = append(l.Episodes, other.Episodes...)
	l.Findings = append(l.Findings, other.Findings...)
	l.Planted = append(l.Planted, other.Planted...)
	l.Limits = cmp.Or(l.Limits, other.Limits)
	l.BrownOut = cmp.Or(l.BrownOut, other.BrownOut)
}

// inOrder are the stores in the order of the documents.
var inOrder = []string{
	stores.Memory, stores.Redis, stores.RedisCluster, stores.RedisFailover, stores.PostgreSQL, stores.SQLite,
}

// forgets reports whether a store can lose what it has confirmed.
func (s *Store) forgets() bool { return check.Forgets(s.Name) }

// store returns the store with a name, which may be new.
func (l *Ledger) store(name string) *Store {
	place := func(s Store, name string) int {
		return cmp.Or(cmp.Compare(slices.Index(inOrder, s.Name), slices.Index(inOrder, name)), cmp.Compare(s.Name, name))
	}
	i, ok := slices.BinarySearchFunc(l.Stores, name, place)
	if !ok {
		l.Stores = slices.Insert(l.Stores, i, Store{Name: name})
	}
	return &l.Stores[i]
}

func (s *Store) merge(other Store) {
	s.Episodes += other.Episodes
	s.Took += other.Took
	s.Periods = sum(s.Periods, other.Periods)
	s.Result.Merge(other.Result)
	s.Findings = nil
	slices.SortFunc(s.Cells, func(a, b check.Count) int { return compare(a.Cell, b.Cell) })
}

// sum returns a new map with the sums of the values of two.
func sum(a, b map[string]int) map[string]int {
	both := make(map[string]int, max(len(a), len(b)))
	for _, m := range []map[string]int{a, b} {
		for k, n := range m {
			both[k] += n
		}
	}
	return both
}

// The ways, windows and actions in the order of the documents.
var (
	ways = []history.Way{
		history.Plain, history.BeginEffect, history.DerivedKey, history.Executor, history.FinishTx, history.BeginEffectTx,
	}
	windows = []history.Window{
		history.OnTheWay, history.BeforeClaim, history.AfterClaim, history.BeforeMark, history.AfterMark,
		history.BeforeEffect, history.AfterEffect, history.BeforeCommit, history.AfterCommit,
		history.BeforeFinish, history.AfterFinish, history.BeforeReply, history.AfterReply,
	}
	actions = []history.Action{
		history.Kill, history.Stop, history.Pause, history.Down, history.Refuse, history.Lose, history.Full,
		history.Panic, history.Fail, history.Decline, history.Forget, history.Overrun, history.Large,
		history.Unsent, history.Half, history.Cut, history.DropReply, history.Delay, history.Duplicate,
	}
)

// compare puts cells in the order of the documents.
func compare(a, b check.Cell) int {
	return cmp.Or(
		cmp.Compare(slices.Index(ways, a.Way), slices.Index(ways, b.Way)),
		cmp.Compare(slices.Index(windows, a.Window), slices.Index(windows, b.Window)),
		cmp.Compare(slices.Index(actions, a.Action), slices.Index(actions, b.Action)),
		cmp.Compare(a.Window, b.Window), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Way, b.Way),
	)
}
