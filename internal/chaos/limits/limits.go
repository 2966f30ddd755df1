// Package limits attacks ratelimit with redislimit, and checks that no failure makes them admit
// more than they promise. Three servers share one Redis, each through its own proxy. Clients send
// more than the limits allow, while Redis, the links and the servers fail. Each server writes to a
// journal how it decided each request. A checker replays the token buckets from the journals.
//
// The same run has arms with planted bugs, one each, which the checker must find.
package limits

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// A Result is what a run has shown.
type Result struct {
	Seed  uint64
	Began time.Time
	Took  time.Duration

	Requests     int // that clients sent, also to arms with bugs
	Admitted     int // by Redis
	Denied       int // by Redis
	Local        int // admitted by the local limiter of a process
	LocalDenied  int
	Open         int // admitted because the middleware fails open
	Unavailable  int // refused with 503 because it fails closed
	Unanswered   int // requests without a response
	Waits        int // clients that waited for Retry-After, and came again to the same bucket
	Slow         int // calls that took their whole timeout although there was no fault
	Incarnations int // of servers

	Faults   map[string]Fault // by kind
	Periods  []Period
	Arms     []Arm // without those with bugs
	Findings []string
	Planted  []Planted
}

// A Fault is a kind of fault.
type Fault struct {
	Times    int
	Requests int // that were under way during one
}

// A Period is the time of a fault, from the beginning of the run.
type Period struct {
	Kind     string
	Server   int // its number, or -1 if it is a fault of Redis
	From, To time.Duration
}

// An Arm is a route with a failure mode.
type Arm struct {
	Name      string
	OnFailure string
	Processes int
	Keys      int

	// Burst and Rate are those of all its buckets in Redis together: units, and units per second.
	Burst, Rate float64

	Tightest []Tightest // of the buckets in Redis, and of those in the processes
	Seconds  []Second   // from the beginning of the run
}

// A Tightest is the bucket and the window in which the most was admitted, as a part of what was
// allowed: the burst, what came back in the window, what was given back, and a burst for each loss
// of the data.
type Tightest struct {
	Bucket   string
	Window   time.Duration
	Admitted float64
	Allowed  float64
}

// A Second is what happened in a second, in units.
type Second struct {
	Offered, Redis, Local, Open int
}

// A Planted is a bug, and how it was found.
type Planted struct {
	Bug     string
	Check   string // that found it first; empty if none did
	After   time.Duration
	Finding string
}

// Run attacks for a time, and checks what happened. It fails the test if a check has a finding, if
// a planted bug was not found, or if a kind of fault was never active while a request was under
// way. The processes are the test binary: its TestMain must call [Main].
func Run(tb testing.TB, d time.Duration, seed uint64) Result {
	tb.Helper()
	f := newFleet(tb)
	c := newClients(f.servers)
	facts := &facts{arms: make(map[string]*arm)}
	for _, a := range arms() {
		facts.arms[a.name] = a
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	result := Result{Seed: seed, Began: time.Now()}
	drift := wall() - history.Now()
	facts.began = history.Now()
	var all sync.WaitGroup
	all.Go(func() { f.attack(ctx, seed, min(600*time.Millisecond+d/100, 2*time.Second)) })
	all.Go(func() { c.run(ctx, seed) })
	all.Wait()
	history.Sleep(context.Background(), timeout+late) // what is under way ends
	facts.ended = history.Now()
	for _, p := range f.servers {
		p.kill()
		result.Incarnations += p.incarnation
	}
	if step := wall() - history.Now() - drift; step > int64(time.Millisecond) || step < -int64(time.Millisecond) {
		tb.Errorf("limits: the clock of the machine was set by %v: Redis's time is no longer ours", time.Duration(step))
	}
	entries, noise, err := f.entries()
	if err != nil {
		tb.Fatal(err)
	}
	if noise != "" {
		tb.Errorf("limits: servers have written to the standard error:\n%s", noise)
	}
	facts.faults, facts.calls, facts.breaches, facts.entries = f.faults, c.calls, c.breaches, entries
	result.Waits = int(c.waits.Load())
	result.fill(facts)
	result.report(tb)
	return result
}

// wall returns the time of day in nanoseconds.
func wall() int64 { return time.Now().Round(0).UnixNano() }

// fill sets everything that follows from the facts.
func (r *Result) fill(f *facts) {
	r.Took = time.Duration(f.ended - f.began)
	findings, buckets := f.check()
	r.count(f)
	r.Faults = f.countFaults()
	for _, x := range f.faults {
		r.Periods = append(r.Periods, Period{x.kind, x.server, time.Duration(x.from - f.began), time.Duration(x.to - f.began)})
	}
	for _, a := range arms() {
		if a.bug != "" {
			r.Planted = append(r.Planted, planted(a, findings, f.began))
			continue
		}
		r.Arms = append(r.Arms, f.armOf(a, buckets))
		for _, x := range findings {
			if x.arm == a.name {
				r.Findings = append(r.Findings, fmt.Sprintf("%v: %s: %s: %s", time.Duration(x.at-f.began), x.arm, x.check, x.detail))
			}
		}
	}
}

func (r *Result) count(f *facts) {
	faults := make([]spans, processes)
	for n := range faults {
		for _, x := range f.faults {
			if x.hits(n) {
				faults[n] = append(faults[n], span{x.from, x.to + int64(grace)})
			}
		}
		faults[n] = faults[n].union()
	}
	r.Requests = len(f.calls)
	for _, c := range f.calls {
		if c.status == 0 {
			r.Unanswered++
		}
	}
	for _, e := range f.entries {
		if e.slow() && !faults[numberOf(e.server)].overlap(span{e.Began, e.Ended}) {
			r.Slow++
		}
		switch {
		case e.Refund > 0:
		case e.How == byStore && e.Admitted:
			r.Admitted++
		case e.How == byStore:
			r.Denied++
		case e.How == byLocal && e.Admitted:
			r.Local++
		case e.How == byLocal:
			r.LocalDenied++
		case e.How == byNone:
			r.Open++
		default:
			r.Unavailable++
		}
	}
}

func (f *facts) countFaults() map[string]Fault {
	faults := make(map[string]Fault)
	for _, kind := range slices.Concat(storeKinds, linkKinds, serverKinds) {
		faults[kind] = Fault{}
	}
	calls := slices.Clone(f.calls)
	slices.SortFunc(calls, func(a, b call) int { return int(a.from - b.from) })
	for _, x := range f.faults {
		count := faults[x.kind]
		count.Times++
		first, _ := slices.BinarySearchFunc(calls, x.from-int64(2*patienceOfClients), func(c call, from int64) int { return int(c.from - from) })
		for _, c := range calls[first:] {
			if c.from > x.to {
				break
			}
			if x.hits(c.server) && c.overlaps(x.span) {
				count.Requests++
			}
		}
		faults[x.kind] = count
	}
	return faults
}

func (f *facts) armOf(a *arm, buckets map[bucketID]*bucket) Arm {
	limit := a.limit()
	result := Arm{
		Name: a.name, OnFailure: [...]string{"FailLocal", "FailOpen", "FailClosed"}[a.want.fail], Processes: a.want.shares, Keys: a.keys,
		Burst: float64(a.keys * limit.Burst), Rate: float64(a.keys*limit.Quota) / limit.Window.Seconds(),
	}
	if a.several() {
		result.Burst = min(result.Burst, float64(allLimit.Burst))
		result.Rate = min(result.Rate, float64(allLimit.Quota)/allLimit.Window.Seconds())
	}
	var inRedis, inProcesses Tightest
	for id, b := range buckets {
		if id.arm.name != a.name {
			continue
		}
		to := &inRedis
		if id.server != "" {
			to = &inProcesses
		}
		if w := b.worst(); w.admitted > 0 && (to.Allowed == 0 || w.admitted/w.allowed > to.Admitted/to.Allowed) {
			*to = Tightest{id.String(), time.Duration(w.to - w.from), w.admitted, w.allowed}
		}
	}
	for _, t := range []Tightest{inRedis, inProcesses} {
		if t.Allowed > 0 {
			result.Tightest = append(result.Tightest, t)
		}
	}
	result.Seconds = make([]Second, int(math.Ceil(time.Duration(f.ended-f.began).Seconds())))
	at := func(t int64) *Second {
		i := (t - f.began) / int64(time.Second)
		return &result.Seconds[min(max(int(i), 0), len(result.Seconds)-1)]
	}
	for _, c := range f.calls {
		if c.arm.name == a.name {
			at(c.from).Offered += c.cost
		}
	}
	for _, e := range f.entries {
		if e.Arm != a.name || e.Refund > 0 || !e.Admitted {
			continue
		}
		switch s := at(e.Ended); e.How {
		case byStore:
			s.Redis += e.Cost
		case byLocal:
			s.Local += e.Cost
		default:
			s.Open += e.Cost
		}
	}
	return result
}

func planted(a *arm, findings []finding, began int64) Planted {
	for _, x := range findings {
		if x.arm == a.name {
			return Planted{a.bug, x.check, time.Duration(x.at - began), x.detail}
		}
	}
	return Planted{Bug: a.bug}
}

// report fails the test if the run has shown a fault, or has not shown enough.
func (r *Result) report(tb testing.TB) {
	tb.Helper()
	if n := len(r.Findings); n > 0 {
		tb.Errorf("limits: seed %d: %d findings, such as\n%s", r.Seed, n, strings.Join(r.Findings[:min(n, 20)], "\n"))
	}
	for kind, x := range r.Faults {
		if x.Requests == 0 {
			tb.Errorf("limits: seed %d: no request was under way during %q, which happened %d times", r.Seed, kind, x.Times)
		}
	}
	for _, p := range r.Planted {
		if p.Check == "" {
			tb.Errorf("limits: seed %d: not found: %s", r.Seed, p.Bug)
		}
	}
	if r.Waits == 0 {
		tb.Errorf("limits: seed %d: no client has waited for Retry-After", r.Seed)
	}
}
