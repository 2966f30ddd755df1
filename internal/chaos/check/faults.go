package check

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// faults has the faults that hit more than one request.
type faults struct {
	periods []period           // in the order of their beginning
	deaths  map[string]int64   // of the servers with their incarnations
	stops   map[string][]int64 // the same
	losses  []period           // the store can lose what it has confirmed
	full    []period           // the store has no room
	clock   []period           // its clock is wrong
}

// A period is a Period, or what a hit did to a whole process.
type period struct {
	history.Period
	latest int64 // the end of this one and all before
}

// A process that was hit is back at the latest after this time, if no Period says it exactly.
const longestHit = 5 * time.Second

func faultsOf(h *history.History, store string) *faults {
	f := &faults{deaths: make(map[string]int64), stops: make(map[string][]int64)}
	add := func(p history.Period) {
		if p.To == 0 {
			p.To = math.MaxInt64 // it did not end
		}
		f.periods = append(f.periods, period{Period: p})
		switch p.Kind {
		case string(history.Kill):
			if at, ok := f.deaths[p.Target]; !ok || p.From < at {
				f.deaths[p.Target] = p.From
			}
		case string(history.Stop):
			f.stops[p.Target] = append(f.stops[p.Target], p.From)
		}
		switch {
		case strings.Contains(p.Kind, string(history.Full)):
			f.full = append(f.full, period{Period: p})
		case strings.Contains(p.Kind, "clock"):
			f.clock = append(f.clock, period{Period: p})
		}
	}
	for _, p := range withHits(h) {
		add(p)
		if l, ok := lossOf(p, store); ok {
			f.losses = append(f.losses, l)
		}
	}
	slices.SortFunc(f.periods, func(a, b period) int { return cmp.Compare(a.From, b.From) })
	latest := int64(0)
	for i := range f.periods {
		latest = max(latest, f.periods[i].To)
		f.periods[i].latest = latest
	}
	return f
}

// withHits returns the periods of a history, and those of the hits that end or stop a process. The
// process has written the hit a little before the nemesis noticed it, which then recorded a period.
func withHits(h *history.History) []history.Period {
	all := slices.Clone(h.Periods)
	for i := range h.Hits {
		x := &h.Hits[i]
		if x.Action != history.Kill && x.Action != history.Stop {
			continue
		}
		n := slices.IndexFunc(h.Periods, func(p history.Period) bool { return isOf(&p, x) })
		if n < 0 {
			all = append(all, history.Period{Kind: string(x.Action), Target: x.Server, From: x.At, To: x.At + int64(longestHit)})
			continue
		}
		all[n].From = min(all[n].From, x.At)
	}
	return all
}

// LongestFailover is how long a replica may still replace a master that works again. The nodes take
// a master for dead for two cluster-node-timeouts after it is back, and an election takes a second.
// The master confirms writes until it is told.
const LongestFailover = 3 * time.Second

// lossOf returns the time in which a period makes a store lose what it has confirmed. A Memory ends
// with its process. A master that is killed or stopped is replaced, and drops what it alone has.
// Other troubles lose nothing.
func lossOf(p history.Period, store string) (loss period, ok bool) {
	killed, stopped := p.Kind == string(history.Kill), p.Kind == string(history.Stop)
	switch store {
	case stores.Memory:
		_, ok = serverIn(p.Target)
		p.To = p.From
		return period{Period: p}, ok && killed
	case stores.RedisFailover:
		if p.To != 0 {
			p.To += int64(LongestFailover)
		}
		return period{Period: p}, strings.HasPrefix(p.Target, "store") && (killed || stopped)
	}
	return period{}, false
}

// during returns the periods that overlap a time.
func (f *faults) during(from, to int64) iter.Seq[*period] {
	return func(yield func(*period) bool) {
		n, _ := slices.BinarySearchFunc(f.periods, to, func(p period, to int64) int {
			if p.From <= to {
				return -1
			}
			return 1
		})
		for n--; n >= 0 && f.periods[n].latest >= from; n-- {
			if f.periods[n].To >= from && !yield(&f.periods[n]) {
				return
			}
		}
	}
}

// stoppedIn reports whether a process was stopped in a time, or shortly before.
func (f *faults) stoppedIn(server string, from, to int64) bool {
	return slices.ContainsFunc(f.stops[server], func(at int64) bool { return at > from-int64(longestRun) && at < to })
}

// anyIn reports whether one of some periods overlaps a time.
func anyIn(periods []period, from, to int64) bool {
	return slices.ContainsFunc(periods, func(p period) bool { return p.From <= to && p.To >= from })
}

// longestRun is how long a run that is not stopped can take: MaxRun, the calls of the store, and
// the provider, with room to spare.
const longestRun = 15 * time.Second

// serverOf returns the server, with its incarnation, of a run.
func serverOf(run string) string {
	if i := strings.LastIndexByte(run, '-'); i >= 0 {
		return run[:i]
	}
	return run
}
