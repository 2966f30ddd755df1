package ledger

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// A column is a column of a table in docs/SEMANTICS.md that has numbers. People write the words of
// its cells, and the ledger adds what was seen.
type column struct {
	ways   []history.Way
	stores []string // if nil, all
}

// columnsBelow are the columns of the table below a heading, by their heads.
var columnsBelow = map[string]map[string]column{
	"Fault by fault": {
		"effect without `BeginEffect`": {ways: []history.Way{history.Plain}},
		"after `BeginEffect`":          {ways: []history.Way{history.BeginEffect}},
	},
	"With an Executor": {
		"effect in the transaction": {ways: []history.Way{history.Executor}},
	},
	"In the handler's database": inDatabase(stores.PostgreSQL),
	"SQLite":                    inDatabase(stores.SQLite),
	"The stores": {
		"Redis": {
			ways:   []history.Way{history.Plain, history.BeginEffect, history.DerivedKey},
			stores: []string{stores.Redis, stores.RedisCluster},
		},
	},
}

func inDatabase(store string) map[string]column {
	return map[string]column{
		"Executor":        {[]history.Way{history.Executor}, []string{store}},
		"`FinishTx`":      {[]history.Way{history.FinishTx}, []string{store}},
		"`BeginEffectTx`": {[]history.Way{history.BeginEffectTx}, []string{store}},
	}
}

// sameFault has the words of rows of check.Table about the fault of a row that has other words.
var sameFault = map[string]string{
	"the process is killed before the COMMIT":      "the process dies before the commit",
	"it is killed after the COMMIT":                "it is killed after the COMMIT, before its response",
	"the reply to the COMMIT is lost":              "the reply to the commit is lost",
	"the same, and the database cannot be reached": "the reply to the commit is lost, and the database cannot be reached",
	"the COMMIT is lost":                           "the commit fails",
	"the response is over `MaxResponse`":           "a response over `MaxResponse`",
	"5xx or a panic before the COMMIT":             "5xx, 401, 403, 408, 425, 429, a panic, a deadline, `Forget`",
}

// semantics puts the numbers of the ledger into the tables of docs/SEMANTICS.md. It is an error if
// a row of check.Table is not there.
func (l *Ledger) semantics(text []byte) ([]byte, error) {
	var out strings.Builder
	var heads []string
	heading, found, samples := "", make(map[string]bool), l.samples()
	for line := range strings.Lines(string(text)) {
		cells, ok := split(line)
		switch {
		case !ok:
			heads = nil
			if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
				heading = strings.TrimSpace(title)
			}
		case heads == nil:
			heads = cells
		default:
			found[cells[0]] = true
			line = samples.filled(line, columnsBelow[heading], heads, cells)
		}
		out.WriteString(line)
	}
	for _, r := range check.Table() {
		if len(r.Promises) > 0 && !found[r.Fault] {
			return nil, fmt.Errorf("%s has no row %q", semanticsFile, r.Fault)
		}
	}
	return []byte(out.String()), nil
}

// split returns the cells of a row of a Markdown table.
func split(line string) ([]string, bool) {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
	if !ok {
		return nil, false
	}
	cells := strings.Split(strings.TrimSuffix(line, "|"), "|")
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(cell)
	}
	return cells, true
}

// filled returns a row with numbers in its cells.
func (f byFault) filled(line string, columns map[string]column, heads, cells []string) string {
	changed := false
	for i, head := range heads {
		if c, ok := columns[head]; ok {
			was := cells[i]
			cells[i] = f.withEvidence(was, cells[0], c)
			changed = changed || cells[i] != was
		}
	}
	if !changed {
		return line
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// Evidence is at the end of a cell, such as once *(4,512 of 4,512)*. The promise comes first.
var old = regexp.MustCompile(` \*\([^*]*\)\*$`)

// withEvidence returns a cell with the evidence for its promise, instead of any that it has.
func (f byFault) withEvidence(promise, fault string, c column) string {
	promise = old.ReplaceAllString(promise, "")
	var seen effects
	for _, s := range slices.Concat(f[fault], f[sameFault[fault]]) {
		if c.has(s) && s.shows(promise) {
			seen.add(s.effects)
		}
	}
	if seen.keys() == 0 {
		return promise
	}
	return promise + " *(" + seen.inWords(promise) + ")*"
}

// effects are the numbers of keys with 0, 1 and more effects.
type effects [3]int

func (e *effects) add(o effects) {
	for n := range e {
		e[n] += o[n]
	}
}

func (e *effects) keys() int { return e[0] + e[1] + e[2] }

// A sample is what happened to the keys whose only fault was in a cell.
type sample struct {
	check.Cell
	*check.Promise
	effects

	store string
}

// byFault has the samples of the rows of check.Table, by the words of the row.
type byFault map[string][]sample

func (l *Ledger) samples() byFault {
	all := make(byFault)
	for _, s := range l.Stores {
		if s.forgets() {
			continue
		}
		for _, n := range s.Cells {
			if row, promise := check.RowFor(s.Name, n.Cell); row != nil {
				all[row.Fault] = append(all[row.Fault], sample{n.Cell, promise, n.Effects, s.Name})
			}
		}
	}
	return all
}

// has reports whether a column is about a sample.
func (c column) has(s sample) bool {
	return slices.Contains(c.ways, s.Way) && (c.stores == nil || slices.Contains(c.stores, s.store))
}

// shows reports whether a sample can show the difference that a promise makes. An effect can only
// happen again if it has happened before the fault, and BeginEffect only protects what comes after.
func (s *sample) shows(promise string) bool {
	switch {
	case strings.HasPrefix(promise, "again"):
		return s.Max > 1
	case strings.HasPrefix(promise, "at most once"):
		return !slices.Contains([]history.Window{history.BeforeClaim, history.AfterClaim, history.BeforeMark}, s.Window)
	}
	return true
}

// inWords says what was seen, in words that fit the promise.
func (e *effects) inWords(promise string) string {
	of := func(n int) string { return thousands(n) + " of " + thousands(e.keys()) }
	once := e[1] == e.keys()
	switch {
	case strings.HasPrefix(promise, "again"):
		return "in " + of(e[2])
	case once && strings.HasPrefix(promise, "never"):
		return "then once: " + of(e[1])
	case once && (strings.HasPrefix(promise, "once") || strings.HasSuffix(promise, "then once")):
		return of(e[1])
	case e[0] == e.keys():
		return "no effect in " + of(e[0])
	case once:
		return "one effect in " + of(e[1])
	}
	var parts []string
	for n, words := range []string{"0 in ", "once in ", "more in "} {
		if e[n] > 0 {
			parts = append(parts, words+thousands(e[n]))
		}
	}
	return strings.Join(parts, ", ")
}
