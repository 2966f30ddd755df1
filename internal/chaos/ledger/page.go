package ledger

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/limits"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

//go:embed page.md.tmpl
var pageText string

// page is what the template of docs/CHAOS.md gets.
type page struct{ *Ledger }

// page returns docs/CHAOS.md.
func (l *Ledger) page() ([]byte, error) {
	t, err := template.New("page").Option("missingkey=error").Funcs(template.FuncMap{
		"n": thousands, "inWords": inWords, "counted": counted, "enumerate": enumerate,
		"title":           title,
		"setting":         func(store string) string { return about[store].setting },
		"versions":        versions,
		"what":            what,
		"duration":        duration,
		"longestFailover": func() string { return inWords(check.LongestFailover) },
		"line":            func(text string) string { line, _, _ := strings.Cut(text, "\n"); return line },

		"limitFaults": limitFaults,
		"tightest":    tightest,
		"trouble":     func(scenario string) string { return troubles[scenario] },
		"recovery":    recovery,
		"doubts":      doubts,
		"q":           func(d check.Distribution, q float64) string { return inWords(d.Quantile(q)) },
	}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page{l}); err != nil {
		return nil, err
	}
	return []byte(filled(b.String())), nil
}

// about describes the stores of a run.
var about = map[string]struct{ title, setting string }{
	stores.Memory:        {"Memory", "one in each server, which ends with its process and is not shared"},
	stores.Redis:         {"Redis", "one server with `appendfsync always`"},
	stores.RedisCluster:  {"Redis Cluster", "three masters with `appendfsync always`, without failover"},
	stores.RedisFailover: {"Redis failover", "three masters with a replica each. A replica replaces a master that is killed"},
	stores.PostgreSQL:    {"PostgreSQL", "one server with `pgstore`, as a Store and as an Executor"},
	stores.SQLite:        {"SQLite", "one file with `sqlstore`, as a Store and as an Executor, shared by the servers"},
}

func title(store string) string { return cmp.Or(about[store].title, store) }

// says describes what an action does to a request.
var says = map[history.Action]string{
	history.Kill:      "its process is killed with SIGKILL",
	history.Stop:      "its process is stopped with SIGSTOP for longer than the lease",
	history.Pause:     "its run stops for longer than the lease, while renewals go on",
	history.Down:      "the store is down for its key, for longer than the lease",
	history.Refuse:    "the call of the store fails and has no effect",
	history.Lose:      "the call of the store, or the COMMIT, takes effect, but its reply is an error",
	history.Full:      "the store has no room for its response",
	history.Panic:     "the handler panics",
	history.Fail:      "the handler answers 500",
	history.Decline:   "the handler answers 402, which is recorded",
	history.Forget:    "the handler calls `Forget`",
	history.Overrun:   "the handler runs until `MaxRun`",
	history.Large:     "the response is over `MaxResponse`",
	history.Unsent:    "the connection is cut before the request arrives",
	history.Half:      "only a part of its body arrives",
	history.Cut:       "it arrives, and its connection is cut before the response",
	history.DropReply: "the response is dropped after the server has sent it",
	history.Delay:     "it arrives late",
	history.Duplicate: "it arrives twice",
}

// The settings of the service.

func (page) Lease() time.Duration        { return service.Lease }
func (page) StoreTimeout() time.Duration { return service.StoreTimeout }
func (page) MaxRun() time.Duration       { return service.MaxRun }
func (page) Wait() time.Duration         { return service.Wait }

// The sums over all stores.

func (p page) Keys() int     { return p.sum(func(s Store) int { return s.Keys }) }
func (p page) Calls() int    { return p.sum(func(s Store) int { return s.Calls }) }
func (p page) Attempts() int { return p.sum(func(s Store) int { return s.Attempts }) }

func (p page) Troubles() int {
	return p.sum(func(s Store) int {
		total := 0
		for _, n := range s.Periods {
			total += n
		}
		return total
	})
}

func (p page) Hits() int {
	total := 0
	for _, n := range p.hitsAtPoints() {
		total += n
	}
	return total
}

func (p page) sum(of func(Store) int) int {
	total := 0
	for _, s := range p.Stores {
		total += of(s)
	}
	return total
}

// Forgetful returns the names of the stores that can lose what they have confirmed.
func (p page) Forgetful() []string {
	var names []string
	for _, s := range p.Stores {
		if s.forgets() {
			names = append(names, title(s.Name))
		}
	}
	return names
}

// An actionRow is an action with the number of its hits in all windows.
type actionRow struct {
	Name history.Action
	Says string
	Hits int
}

// Actions returns the actions that hit.
func (p page) Actions() []actionRow {
	hits := make(map[history.Action]int)
	for at, n := range p.hitsAtPoints() {
		hits[at.action] += n
	}
	var rows []actionRow
	for _, a := range actions {
		if hits[a] > 0 {
			rows = append(rows, actionRow{a, says[a], hits[a]})
		}
	}
	return rows
}

// Trouble returns a line for each kind of target, with the numbers of its faults.
func (p page) Trouble() []string {
	byTarget := make(map[string]map[string]int)
	for _, s := range p.Stores {
		for name, n := range s.Periods {
			target, kind, _ := strings.Cut(name, ": ")
			byTarget[target] = sum(byTarget[target], map[string]int{kind: n})
		}
	}
	var lines []string
	for _, target := range slices.Sorted(maps.Keys(byTarget)) {
		lines = append(lines, fmt.Sprintf("**%s**: %s", target, enumerate(ranked(byTarget[target], inParentheses))))
	}
	return lines
}

// Alone returns how many keys met exactly one fault.
func (s *Store) Alone() int {
	total := 0
	for _, c := range s.Cells {
		total += c.Keys
	}
	return total
}

// Repeated returns a line for each cause of duplicates that are allowed with all stores.
func (p page) Repeated() []string { return p.repeated(false) }

// Forgiven returns those that are allowed with the stores that forget.
func (p page) Forgiven() []string { return p.repeated(true) }

func (p page) repeated(forgetful bool) []string {
	var all map[string]int
	for _, s := range p.Stores {
		if s.forgets() == forgetful {
			for name, n := range s.Duplicates {
				way, cause, _ := strings.Cut(name, ": ")
				all = sum(all, map[string]int{"**" + way + "**, " + cause: n})
			}
		}
	}
	return ranked(all, func(name string, n int) string { return name + ": " + counted(n, "key", "keys") })
}

func inParentheses(name string, n int) string { return name + " (" + thousands(n) + ")" }

// ranked formats names with their counts, the most frequent ones first.
func ranked(counts map[string]int, format func(name string, n int) string) []string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = format(name, counts[name])
	}
	return names
}

// duration formats a duration for a flag, as 1h and 2m30s.
func duration(d time.Duration) string {
	return strings.TrimSuffix(strings.Replace(d.String(), "h0m", "h", 1), "0s")
}

// versions formats versions, sorted by name.
func versions(of map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		version := of[name]
		if !strings.HasPrefix(strings.ToLower(version), strings.ToLower(name)) {
			version = name + " " + version
		}
		all = append(all, version)
	}
	return enumerate(all)
}

// Number returns the place of an episode in the schedule.
func (p page) Number(seed uint64) int {
	return slices.IndexFunc(p.Episodes, func(e Summary) bool { return e.Seed == seed })
}

// what returns the sentence about a planted bug.
func what(name string) string {
	for _, b := range service.Bugs() {
		if b.Name == name {
			return b.What
		}
	}
	return name
}

// limitFaults formats how often Redis and what is around it failed.
func limitFaults(faults map[string]limits.Fault) string {
	times := make(map[string]int)
	for kind, f := range faults {
		times[kind] = f.Times
	}
	return enumerate(ranked(times, inParentheses))
}

// tightest formats the bucket that came closest to its bound, in Redis or in a process.
func tightest(all []limits.Tightest, n int) string {
	if n >= len(all) {
		return ""
	}
	t := all[n]
	return fmt.Sprintf("%.0f of %.0f units in %s", t.Admitted, t.Allowed, inWords(t.Window))
}

// recovery formats how long an upstream took after its trouble. The last second of a scenario
// cannot show a recovery.
func recovery(s brownout.Scenario, a brownout.Arm) string {
	if !a.Recovered {
		return fmt.Sprintf("**over %.0f s**", s.After-1)
	}
	return fmt.Sprintf("%.1f s", a.Recovery)
}

// doubts returns what was wrong in a brown-out, and where its figures prove nothing.
func doubts(r *brownout.Result) []string {
	var all []string
	for _, s := range r.Scenarios {
		if s.Inconclusive != "" {
			all = append(all, fmt.Sprintf("**The upstream %s:** this proves nothing, because %s.", troubles[s.Name], s.Inconclusive))
		}
		for _, f := range s.Findings() {
			all = append(all, fmt.Sprintf("**The upstream %s, a finding:** %s.", troubles[s.Name], f))
		}
	}
	return all
}
