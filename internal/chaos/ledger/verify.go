package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/service"
)

// Verify returns an error for each reason why the run is not good enough for the documents:
//
//   - It has findings, also those of the rate limits and the brown-out.
//   - One of the failpoints was hit fewer than minimum times, in all ways together, or never in its
//     own way.
//   - With one of the stores, fewer than ten times minimum keys met exactly one fault. So the run
//     says too little about the tables of docs/SEMANTICS.md.
//   - Where docs/SEMANTICS.md says that an effect can happen again, it never did. So the run did
//     not get to that case.
//   - A bug of service.Bugs was not planted and found.
func (l *Ledger) Verify(minimum int, failpoints []service.Arm) error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range l.Findings {
		add("%s with %s in episode %d: %s", f.Check, f.Store, f.Seed, f.Detail)
	}
	if l.Limits != nil {
		for _, f := range l.Limits.Findings {
			add("limits: %s", f)
		}
		for _, p := range l.Limits.Planted {
			if p.Check == "" {
				add("limits: the bug %q was not found", p.Bug)
			}
		}
	}
	if l.BrownOut != nil {
		for _, s := range l.BrownOut.Scenarios {
			for _, f := range s.Findings() {
				add("brown-out: %s: %s", s.Name, f)
			}
		}
	}
	hits, inWay := l.hitsAtPoints(), l.Hits()
	seen := make(map[point]bool)
	for _, a := range failpoints {
		at := point{a.Window, a.Action}
		if n := hits[at]; n < minimum && !seen[at] {
			add("%s %s was hit %d times, and not %d", a.Action, a.Window, n, minimum)
		}
		seen[at] = true
		if minimum > 0 && a.Way != "" && inWay[a] == 0 {
			add("%s %s was never hit in the way %s", a.Action, a.Window, a.Way)
		}
	}
	for _, s := range l.Stores {
		if n := s.Alone(); n < 10*minimum {
			add("with %s, only %d keys met exactly one fault, and not %d", s.Name, n, 10*minimum)
		}
	}
	for _, r := range l.neverAgain(failpoints) {
		add("no effect happened again after %q", r)
	}
	for _, b := range service.Bugs() {
		found := func(p Planted) bool { return p.Bug == b.Name && p.After > 0 }
		if !slices.ContainsFunc(l.Planted, found) {
			add("the bug %q was not found", b.Name)
		}
	}
	return errors.Join(errs...)
}

// Hits returns how often each failpoint was hit.
func (l *Ledger) Hits() map[service.Arm]int {
	hits := make(map[service.Arm]int)
	for _, s := range l.Stores {
		for _, c := range s.Cells {
			hits[service.Arm{Window: c.Window, Action: c.Action, Way: c.Way}] += c.Hits
		}
	}
	return hits
}

// neverAgain returns the faults after which an effect can happen again and never did.
func (l *Ledger) neverAgain(failpoints []service.Arm) []string {
	var faults []string
	happened := make(map[string]bool)
	for _, s := range l.Stores {
		for _, c := range s.Cells {
			if row, _ := check.RowFor(s.Name, c.Cell); row != nil && c.Effects[2] > 0 && !s.forgets() {
				happened[row.Fault] = true
			}
		}
	}
	for _, a := range failpoints {
		row, promise := check.RowFor("", check.Cell{Way: a.Way, Window: a.Window, Action: a.Action})
		if row != nil && promise.Max > 1 && !happened[row.Fault] && !slices.Contains(faults, row.Fault) {
			faults = append(faults, row.Fault)
		}
	}
	return faults
}
