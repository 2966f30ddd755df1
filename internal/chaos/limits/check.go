package limits

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

const (
	// late is how long after a fault a command that was under way may still reach Redis.
	late = time.Second

	// grace is how long a server may take to ask Redis again after a fault: the second for which it
	// does not ask, a call before it and the probe after it, and as much for a busy machine.
	grace = time.Second + 3*timeout
)

// notSent is in the error of a decision for which the limiter did not ask Redis.
const notSent = "Redis did not answer; it is asked again soon"

// A facts is all that is known about a run.
type facts struct {
	began, ended int64
	faults       []fault
	calls        []call
	breaches     []breach
	entries      []*entry

	arms map[string]*arm
}

// A finding is a broken promise.
type finding struct {
	arm    string
	check  string
	detail string
	at     int64
}

// The checks.
const (
	checkBound    = "more admitted than the bucket can have held"
	checkLocal    = "more admitted than the local limiter of a process can have held"
	checkClosed   = "admitted although the limiter failed"
	checkSilent   = "decided by Redis while Redis could not reply"
	checkRefused  = "refused although the limiter may not refuse when it fails"
	checkCause    = "failed without a cause"
	checkDenied   = "denied although the bucket has room"
	checkPromise  = "denied again after Retry-After"
	checkJournal  = "answered with 200, and not in the journal"
	checkAnswered = "the journal and the answer differ"
)

func numberOf(server string) int {
	n, _ := strconv.Atoi(server[1:strings.IndexByte(server, '.')])
	return n
}

// settled returns until when a command may reach Redis that was sent in a span and had no reply.
func (f *facts) settled(s span) span {
	for changed := true; changed; {
		changed = false
		for _, x := range f.faults {
			if x.to > s.to && x.from <= s.to+int64(late/10) {
				s.to, changed = x.to, true
			}
		}
	}
	s.to += int64(late)
	return s
}

// check returns all findings, and the buckets.
func (f *facts) check() (findings []finding, buckets map[bucketID]*bucket) {
	buckets = f.buckets()
	for id, b := range buckets {
		findings = append(findings, check(id, b)...)
	}
	findings = append(findings, f.checkFailures()...)
	findings = append(findings, f.checkAnswers()...)
	for _, b := range f.breaches {
		findings = append(findings, finding{b.denied.arm.name, checkPromise, fmt.Sprintf(
			"key %s, cost %d: told to wait %v, and denied %v after the response", b.denied.key, b.denied.cost, b.denied.after,
			time.Duration(b.again.from-b.denied.to)), b.again.to})
	}
	slices.SortFunc(findings, func(a, b finding) int { return int(a.at - b.at) })
	return findings, buckets
}

// A bucketID names a bucket in Redis, or in one process.
type bucketID struct {
	arm    *arm
	rule   string
	key    string
	server string // with its incarnation; empty in Redis
}

func (id bucketID) String() string {
	where := "Redis"
	if id.server != "" {
		where = id.server
	}
	return fmt.Sprintf("rule %q, key %q in %s", id.rule, id.key, where)
}

// of returns the IDs of the buckets of a request.
func of(a *arm, key, server string) []bucketID {
	ids := []bucketID{{a, a.name, key, server}}
	if a.several() {
		ids = append(ids, bucketID{a, a.name + allSuffix, "", server})
	}
	return ids
}

// buckets returns what is known about each bucket.
func (f *facts) buckets() map[bucketID]*bucket {
	buckets := make(map[bucketID]*bucket)
	get := func(id bucketID) *bucket {
		b := buckets[id]
		if b == nil {
			b = &bucket{limit: limitOf(id.arm, id.rule), parts: 1}
			if id.server != "" {
				b.parts = id.arm.want.shares
			}
			buckets[id] = b
		}
		return b
	}
	journaled := make(map[int64]bool)
	refunds := make(map[int64]*entry)
	for _, e := range f.entries {
		if e.Refund > 0 {
			if before := refunds[e.ID]; before == nil || before.Ended == 0 {
				refunds[e.ID] = e
			}
			continue
		}
		journaled[e.ID] = true
		a := f.arms[e.Arm]
		c := charge{span{e.Began, e.Ended}, float64(e.Cost)}
		for _, id := range of(a, e.Key, "") {
			b := get(id)
			switch {
			case e.How != byStore && strings.Contains(e.Err, notSent):
			case e.How != byStore:
				b.unknown = append(b.unknown, charge{f.settled(c.span), c.units})
			case e.Admitted:
				b.taken = append(b.taken, c)
			case slices.Contains(e.Denies, id.rule):
				b.denials = append(b.denials, c)
			}
		}
		if e.How == byLocal && e.Admitted {
			for _, id := range of(a, e.Key, e.server) {
				b := get(id)
				b.taken = append(b.taken, c)
			}
		}
	}
	for _, e := range refunds {
		s := span{e.Began, e.Ended}
		if e.Ended == 0 || e.Err != "" {
			s = f.settled(span{e.Began, max(e.Began, e.Ended)})
		}
		for _, id := range of(f.arms[e.Arm], e.Key, "") {
			b := get(id)
			b.gifts = append(b.gifts, charge{s, float64(e.Refund)})
		}
	}
	for _, c := range f.calls {
		if !journaled[c.id] { // its server was killed, before or after it asked Redis
			for _, id := range of(f.arms[c.arm.name], c.key, "") {
				b := get(id)
				b.unknown = append(b.unknown, charge{f.settled(c.span), float64(c.cost)})
			}
		}
	}
	for id, b := range buckets {
		for _, x := range f.faults {
			if x.kind == redisForgets && id.server == "" {
				b.lost = append(b.lost, x.span)
				b.gifts = append(b.gifts, charge{x.span, b.burst()})
			}
		}
	}
	return buckets
}

// check returns what is wrong with the decisions about a bucket.
func check(id bucketID, b *bucket) (findings []finding) {
	if w := b.worst(); w.first != 0 {
		name := checkBound
		if id.server != "" {
			name = checkLocal
		}
		findings = append(findings, finding{id.arm.name, name, fmt.Sprintf(
			"%v: %.3f of %.3f units in %v", id, w.admitted, w.allowed, time.Duration(w.to-w.from)), w.first})
	}
	if id.arm.settled || id.server != "" {
		return findings
	}
	for _, d := range b.unfounded() {
		// A process remembers a denial for up to a second, even if Redis has lost the bucket.
		remembered := span{d.from - int64(time.Second), d.to}
		if !slices.ContainsFunc(b.lost, remembered.overlaps) {
			findings = append(findings, finding{id.arm.name, checkDenied, fmt.Sprintf(
				"%v: %v units, and it holds at least %.3f", id, d.units, d.held), d.to})
		}
	}
	return findings
}

// checkFailures checks what servers do when the limiter fails, and that it fails only for a reason.
func (f *facts) checkFailures() (findings []finding) {
	causes, silences := f.causes(), f.silences()
	for _, e := range f.entries {
		if e.Refund > 0 {
			continue
		}
		a, s, n := f.arms[e.Arm], span{e.Began, e.Ended}, numberOf(e.server)
		add := func(check string) {
			findings = append(findings, finding{e.Arm, check, fmt.Sprintf(
				"request %d to %s, key %s, after %v: %s", e.ID, e.server, e.Key, time.Duration(e.Ended-e.Began), e.Err), e.Ended})
		}
		mode := a.want.fail
		switch {
		case e.How == byNone && mode != ratelimit.FailOpen, e.How == byLocal && mode != ratelimit.FailLocal:
			add(checkClosed)
		case e.How == failed && mode != ratelimit.FailClosed && !e.Left:
			add(checkRefused)
		case e.How == byStore && e.Admitted && silences[n].contain(s):
			add(checkSilent)
		case e.How != byStore && !e.Left && !causes[n].overlap(s):
			add(checkCause)
		}
	}
	return findings
}

// slow reports whether the limiter failed because a call took its whole timeout.
func (e *entry) slow() bool {
	fails := e.How != byStore && e.Refund == 0 || e.Err != "" && e.Refund > 0
	return fails && e.Ended-e.Began >= int64(timeout)*9/10
}

// causes returns for each server when decisions may fail: during a fault and for the grace
// afterward, and after a call that took its whole timeout, since then Redis was slow.
func (f *facts) causes() []spans {
	causes := make([]spans, processes)
	for n := range causes {
		for _, x := range f.faults {
			if x.hits(n) {
				causes[n] = append(causes[n], span{x.from, x.to + int64(grace)})
			}
		}
	}
	for _, e := range f.entries {
		if e.slow() {
			n := numberOf(e.server)
			causes[n] = append(causes[n], span{e.Began, e.Ended + int64(grace)})
		}
	}
	for n := range causes {
		causes[n] = causes[n].union()
	}
	return causes
}

// silences returns for each server when it surely got no reply from Redis.
func (f *facts) silences() []spans {
	silences := make([]spans, processes)
	for n := range silences {
		for _, x := range f.faults {
			if x.hits(n) && x.solid.from < x.solid.to {
				silences[n] = append(silences[n], x.solid)
			}
		}
		silences[n] = silences[n].union()
	}
	return silences
}

// spans are sorted and do not overlap.
type spans []span

// union returns the spans sorted, with those joined that overlap.
func (all spans) union() (joined spans) {
	slices.SortFunc(all, func(a, b span) int { return int(a.from - b.from) })
	for _, s := range all {
		if n := len(joined); n > 0 && s.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, s.to)
		} else {
			joined = append(joined, s)
		}
	}
	return joined
}

// overlap reports whether one of the spans overlaps s.
func (all spans) overlap(s span) bool {
	i := all.search(s.from)
	return i < len(all) && all[i].from <= s.to
}

// contain reports whether s is within one of the spans.
func (all spans) contain(s span) bool {
	i := all.search(s.from)
	return i < len(all) && all[i].from <= s.from && s.to <= all[i].to
}

// search returns the index of the first span that does not end before a time.
func (all spans) search(at int64) int {
	return sort.Search(len(all), func(i int) bool { return all[i].to >= at })
}

// checkAnswers checks that clients got the answers that the journals have.
func (f *facts) checkAnswers() (findings []finding) {
	entries := make(map[int64]*entry, len(f.entries))
	for _, e := range f.entries {
		if e.Refund == 0 {
			entries[e.ID] = e
		}
	}
	for _, c := range f.calls {
		e := entries[c.id]
		switch {
		case e == nil && c.status == 200:
			findings = append(findings, finding{c.arm.name, checkJournal, fmt.Sprintf("request %d, key %s", c.id, c.key), c.to})
		case e != nil && c.status != 0 && (c.status != status(e) || c.how != e.How):
			findings = append(findings, finding{c.arm.name, checkAnswered, fmt.Sprintf(
				"request %d, key %s: %d by %s, and in the journal %d by %s", c.id, c.key, c.status, c.how, status(e), e.How), c.to})
		}
	}
	return findings
}

func status(e *entry) int {
	switch {
	case e.Admitted:
		return 200
	case e.How == failed:
		return 503
	default:
		return 429
	}
}
