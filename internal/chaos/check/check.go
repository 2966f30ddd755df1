// Package check decides whether a history keeps the promises of docs/SEMANTICS.md.
package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// Rules are what an episode allows.
type Rules struct {
	// Store is the name of the episode's store. Table has promises that differ between stores, and
	// some stores can forget: see Forgets.
	Store string

	// Lease is that of the servers. A run cannot lose it sooner, unless a Period says that the
	// clock of the store was changed. If 0, it can.
	Lease time.Duration
}

// Forgets reports whether a store can lose what it has confirmed, so that a key is new: a Memory
// ends with its process, and a failover loses what was not replicated.
func Forgets(store string) bool { return store == stores.Memory || store == stores.RedisFailover }

// The checks, as they are named in a Finding.
const (
	DuplicateEffect         = "duplicate effect"          // more than one, although nothing explains it
	LostEffect              = "lost effect"               // answered, and there is none, or a different one
	TwoAnswers              = "two answers"               // of one key, and they differ
	AnothersAnswer          = "another's answer"          // that of another key or amount
	FalseConflict           = "false conflict"            // although all requests with the key were the same
	MissedConflict          = "missed conflict"           // different requests with one key, and both ran
	UnknownUnmarked         = "unknown without a mark"    // idempotency_outcome_unknown where there is no mark
	NoFinalAnswer           = "no final answer"           // although all faults had ended
	UnavailableWithoutCause = "unavailable without cause" // idempotency_response_unavailable, and nothing was large or full
	FailureReplayed         = "replay of a failure"       // which must not be kept
	NotLinearizable         = "not linearizable"          // no order of the requests explains the answers
	NotAsDocumented         = "not as documented"         // a single fault, with another result than in Table
)

// A Finding is a broken promise.
type Finding struct {
	Check  string // such as DuplicateEffect
	Key    string
	Way    history.Way
	Detail string // what a person needs to see it; for the first 100 with all events of the key
}

// A Cell is a fault in a way.
type Cell struct {
	Way    history.Way
	Window history.Window
	Action history.Action
}

// A Count is what happened to the keys that met the fault of a Cell. Keys that met another fault
// too, or had different requests, count only as Hits.
type Count struct {
	Cell
	Hits    int
	Keys    int
	Effects [3]int // keys with 0, 1, and more effects

	// First is what the request that was hit was answered, such as "201", "503 service_unavailable"
	// or "none". It is "retried" if its client has not seen that, or only a later answer, and
	// "unclear" if several requests, or none, were under way.
	First map[string]int
	Final map[string]int // the last answer of the key
}

// A Result is the result of an episode, or the total of several. The zero value is that of none.
type Result struct {
	Keys, Calls, Attempts int
	Findings              []Finding
	Cells                 []Count        // by way, window and action, in the order of package history's text
	Duplicates            map[string]int // keys with several effects or answers that are allowed, by way and cause: "plain: process died"
	Unavailable           Distribution   // from the first request of a key to its first final answer
}

// Merge adds the result of another episode.
func (r *Result) Merge(o Result) {
	r.Keys += o.Keys
	r.Calls += o.Calls
	r.Attempts += o.Attempts
	r.Findings = append(r.Findings, o.Findings...)
	r.Duplicates = sum(r.Duplicates, o.Duplicates)
	r.Unavailable.Merge(o.Unavailable)
	cells := make(map[Cell]*Count)
	for _, counts := range [][]Count{r.Cells, o.Cells} {
		for _, c := range counts {
			countOf(cells, c.Cell).add(c)
		}
	}
	r.Cells = sorted(cells)
}

func (c *Count) add(o Count) {
	c.Hits += o.Hits
	c.Keys += o.Keys
	for i := range c.Effects {
		c.Effects[i] += o.Effects[i]
	}
	c.First, c.Final = sum(c.First, o.First), sum(c.Final, o.Final)
}

// sum returns the sum of two maps. It may change the first one.
func sum(a, b map[string]int) map[string]int {
	if a == nil {
		a = make(map[string]int, len(b))
	}
	for name, n := range b {
		a[name] += n
	}
	return a
}

// countOf returns the count of a cell. It adds one that is missing.
func countOf(cells map[Cell]*Count, c Cell) *Count {
	n := cells[c]
	if n == nil {
		n = &Count{Cell: c, First: make(map[string]int), Final: make(map[string]int)}
		cells[c] = n
	}
	return n
}

func sorted(cells map[Cell]*Count) []Count {
	var all []Count
	for _, c := range slices.SortedFunc(maps.Keys(cells), compareCells) {
		all = append(all, *cells[c])
	}
	return all
}

func compareCells(a, b Cell) int {
	return cmp.Or(cmp.Compare(a.Way, b.Way), cmp.Compare(a.Window, b.Window), cmp.Compare(a.Action, b.Action))
}

// Check checks the history of an episode. It needs time and memory in proportion to the events.
func Check(h *history.History, r Rules) Result {
	e := newEpisode(h, r)
	for k := range keysOf(h) {
		e.check(k)
	}
	e.result.Cells = sorted(e.cells)
	return e.result
}

// An episode is what the checks of all keys share.
type episode struct {
	rules   Rules
	faults  *faults
	cells   map[Cell]*Count
	promise map[Cell]*Promise // of the store; nil where Table has none
	result  Result
}

func newEpisode(h *history.History, r Rules) *episode {
	return &episode{
		rules: r, faults: faultsOf(h, r.Store), cells: make(map[Cell]*Count), promise: make(map[Cell]*Promise),
		result: Result{Duplicates: make(map[string]int)},
	}
}

// check checks one key. The general checks come last, because those before say better what is
// wrong.
func (e *episode) check(k *key) {
	e.count(k)
	e.duplicateEffect(k)
	e.lostEffect(k)
	e.twoAnswers(k)
	e.anothersAnswer(k)
	e.falseConflict(k)
	e.missedConflict(k)
	e.unknownUnmarked(k)
	e.noFinalAnswer(k)
	e.unavailableWithoutCause(k)
	e.failureReplayed(k)
	if !k.found {
		e.notLinearizable(k)
	}
	e.countCells(k)
}

// count counts the calls of a key, and the time until it was answered.
func (e *episode) count(k *key) {
	if len(k.calls) == 0 {
		return
	}
	e.result.Keys++
	e.result.Calls += len(k.calls)
	for i := range k.calls {
		e.result.Attempts += max(k.calls[i].ret.Attempts, 1)
	}
	if at, ok := k.firstFinal(); ok {
		e.result.Unavailable.Add(at - k.from)
	}
}

// find adds a finding, once for each check of a key.
func (e *episode) find(k *key, check, format string, args ...any) {
	if n := len(e.result.Findings); n > 0 && e.result.Findings[n-1].Check == check && e.result.Findings[n-1].Key == k.name {
		return
	}
	k.found = true
	f := Finding{Check: check, Key: k.name, Way: k.way, Detail: fmt.Sprintf(format, args...)}
	if len(e.result.Findings) < stories { // a planted bug can break every key
		f.Detail += "\n" + k.story()
	}
	e.result.Findings = append(e.result.Findings, f)
}

// allow counts a duplicate that is allowed.
func (e *episode) allow(k *key, cause string) {
	e.result.Duplicates[string(k.way)+": "+cause]++
}

// forgets reports whether the store can have lost the record of a key between two times.
func (e *episode) forgets(k *key, from, to int64) bool {
	return slices.ContainsFunc(e.faults.losses, func(p period) bool {
		return p.From <= to && p.To >= from && k.uses(p.Target)
	})
}

// forgot reports whether the store can have lost the record of one run before another run began. A
// claim or a mark may have been lost before the effect that it was for, so the time of the first
// effect is too late to begin with. A Memory loses nothing while its process lives.
func (e *episode) forgot(k *key, one, other string, until int64) bool {
	sameLife := e.rules.Store == stores.Memory && serverOf(one) == serverOf(other)
	return !sameLife && e.forgets(k, k.from, until)
}

// story returns all events of a key, one a line.
func (k *key) story() string {
	type line struct {
		at   int64
		text string
	}
	var lines []line
	add := func(at int64, format string, args ...any) {
		lines = append(lines, line{at, fmt.Sprintf("%+.3fs ", float64(at-k.from)/1e9) + fmt.Sprintf(format, args...)})
	}
	for i := range k.calls {
		c := &k.calls[i]
		add(c.At, "%s: client %d sends %d", c.ID, c.Client, c.Amount)
		if c.returned {
			add(c.ret.At, "%s: %s, run %q, replayed %t, %d attempts %s", c.ID, c.answer(), c.ret.Answer.Run, c.ret.Replayed, c.ret.Attempts, c.ret.Err)
		}
	}
	for _, x := range k.effects {
		add(cmp.Or(x.At, k.from), "effect of %d by run %s", x.Amount, x.Run)
	}
	for _, x := range k.ends {
		add(x.At, "run %s ends: %s, lost %t, status %d %s", x.Run, x.Outcome, x.Lost, x.Status, x.Err)
	}
	for _, x := range k.hits {
		add(x.At, "%s %s, server %s, run %q", x.Action, x.Window, x.Server, x.Run)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	var s strings.Builder
	for _, l := range lines[:min(len(lines), longestStory)] {
		s.WriteString(l.text + "\n")
	}
	return s.String()
}

const (
	stories      = 100 // findings that have one
	longestStory = 60  // its lines
)
