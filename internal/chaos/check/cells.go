package check

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// countCells counts a key in the cells of its hits. If its only fault was one hit, and all its
// requests were the same, it is compared with the promise of Table.
func (e *episode) countCells(k *key) {
	for _, x := range k.hits {
		countOf(e.cells, cellOf(x)).Hits++
	}
	if k.mixed || len(k.hits) != 1 || len(k.calls) == 0 || !e.clean(k, &k.hits[0]) {
		return
	}
	x := &k.hits[0]
	hit, first := k.hitCall(x)
	n := countOf(e.cells, cellOf(*x))
	n.Keys++
	n.Effects[min(len(k.effects), 2)]++
	n.First[first]++
	n.Final[k.last().answer()]++
	if p := e.promiseFor(n.Cell); p != nil {
		e.compare(k, x, hit, first, p)
	}
}

func cellOf(x history.Hit) Cell { return Cell{x.Way, x.Window, x.Action} }

// clean reports whether nothing else went wrong while a key was in use. A request can arrive
// late and have its effect after the last answer.
func (e *episode) clean(k *key, x *history.Hit) bool {
	to := k.to
	for _, effect := range k.effects {
		to = max(to, effect.At)
	}
	for p := range e.faults.during(k.from, to) {
		if (k.meets(&p.Period, x) || e.holdsUp(&p.Period)) && !isOf(&p.Period, x) {
			return false
		}
	}
	return true
}

// holdsUp reports whether a period concerns all keys. A process that is stopped can have the lock
// of a SQLite file.
func (e *episode) holdsUp(p *history.Period) bool {
	return e.rules.Store == stores.SQLite && p.Kind == string(history.Stop)
}

// meets reports whether a period concerns a key that was hit.
func (k *key) meets(p *history.Period, x *history.Hit) bool {
	return x.Action == history.Duplicate || k.uses(p.Target) // the copy may go to any server
}

// uses reports whether a key can meet the trouble of a target: it can unless the target is a
// server, or a way to or from one, that got none of the key's calls.
func (k *key) uses(target string) bool {
	server, ok := serverIn(target)
	return !ok || slices.ContainsFunc(k.calls, func(c call) bool { return c.Server == server || c.Server == "" })
}

// serverIn returns the server that a period is about, without its incarnation.
func serverIn(target string) (server string, ok bool) {
	target = strings.TrimPrefix(target, "clients-")
	target = strings.TrimSuffix(strings.TrimSuffix(target, "-store"), "-provider")
	server, _, _ = strings.Cut(target, ".")
	number, ok := strings.CutPrefix(server, "s")
	if _, err := strconv.Atoi(number); err != nil {
		return "", false
	}
	return server, ok
}

// isOf reports whether a period is the hit itself.
func isOf(p *history.Period, x *history.Hit) bool {
	return p.Target == x.Server && p.Kind == string(x.Action) && max(p.From-x.At, x.At-p.From) < int64(time.Second)
}

// hitCall returns the call that was hit, and what it was answered. The call is nil if that is not
// clear.
func (k *key) hitCall(x *history.Hit) (hit *call, first string) {
	for i := range k.calls {
		if c := &k.calls[i]; c.At <= x.At && c.until() >= x.At {
			if hit != nil {
				return nil, "unclear"
			}
			hit = c
		}
	}
	switch {
	case hit == nil:
		return nil, "unclear"
	case hit.ret.Attempts > 1, hit.ret.Err == history.CircuitOpen:
		return hit, "retried"
	}
	return hit, hit.answer()
}

// promiseFor returns the promise for a cell. It is nil if there is none.
func (e *episode) promiseFor(c Cell) *Promise {
	p, ok := e.promise[c]
	if !ok {
		p = PromiseFor(e.rules.Store, c)
		e.promise[c] = p
	}
	return p
}

// compare compares a key with the promise for its only fault.
func (e *episode) compare(k *key, x *history.Hit, hit *call, first string, p *Promise) {
	cell := cellOf(*x)
	if n := len(k.effects); n < p.Min || n > p.Max {
		e.find(k, NotAsDocumented, "%s %s: %d effects, and %d to %d are documented", cell.Action, cell.Window, n, p.Min, p.Max)
		return
	}
	for i := range k.calls {
		c := &k.calls[i]
		allowed := true
		switch {
		case c == hit: // which of its attempts was hit is not known
			allowed = p.allowsFirst(c.answer()) || first == "retried" && p.allowsRetry(c.answer())
		case c.At > x.At:
			allowed = p.allowsRetry(c.answer())
		}
		if !allowed {
			e.find(k, NotAsDocumented, "%s %s: %s was answered %s", cell.Action, cell.Window, c.ID, c.answer())
		}
	}
}

// allowsFirst reports whether the request that was hit may get an answer. If it may get none, it
// may also get that of a retry: net/http sends a request with an Idempotency-Key again by itself
// if its connection breaks.
func (p *Promise) allowsFirst(answer string) bool {
	return matches(p.First, answer) || matches(p.First, "none") && p.allowsRetry(answer)
}

// allowsRetry reports whether a retry may get an answer. While the first request runs, or blocks
// the key, it may also get one that lets the client try again.
func (p *Promise) allowsRetry(answer string) bool {
	return matches(p.Retry, answer) || matches(later, answer)
}

// later are the answers after which a client tries again.
var later = []string{"none", "429", "502", "503", "504"}

// matches reports whether an answer is one of those in a promise: a status, a status with a code,
// or 5xx.
func matches(promised []string, answer string) bool {
	status := answer
	if len(answer) > 3 && answer[3] == ' ' {
		status = answer[:3]
	}
	return slices.Contains(promised, answer) || slices.Contains(promised, status) ||
		status[0] == '5' && slices.Contains(promised, "5xx")
}
