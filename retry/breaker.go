package retry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// A Breaker stops sending to a host that only fails, and finds out soon when the host is well
// again. It keeps a circuit for every group of requests: for every scheme, host and port, or what
// [Transport.Group] says.
//
// A 5xx other than 501, a transport error and an attempt that AttemptTimeout ended are failures. A
// status below 400 is a success. A 429, any other 4xx, a 501 and a call that its caller canceled
// say nothing about the host's health and are not counted.
//
// A closed circuit lets every attempt through. It opens when an attempt fails and, of the attempts
// that ended within Window,
//
//   - there are at least MinCalls, and FailureRatio of them failed; or
//   - there are at least MinCalls, the last of them all failed, and these failures took a tenth
//     of a second or more. That must be half of MinCalls in a row if all before succeeded,
//     MinCalls if half of those failed, and accordingly in between, but no fewer than five.
//
// The second rule finds an outage that the successes before it would outvote for a while. A host
// that fails a part of all requests does not meet it, nor one of many connections that lost some of
// them in the same moment.
//
// An open circuit refuses attempts with a [CircuitOpenError]. From time to time it lets one of them
// through to probe the host: the first after ProbeAfter, and the next after twice that, up to
// ProbeEvery. Each of these intervals is shortened by a random part of up to a half, so that many
// processes do not probe in step. A probe is sent when its time has come, whether or not an earlier
// one has ended, so one that hangs holds up nothing.
//
// While it is tried like this the circuit is half-open. The first probe that succeeds closes it. A
// 501 and a 4xx other than 429 count as a success of a probe, since they show a host that works. A
// probe that fails opens the circuit again, and one that says nothing leaves it half-open. The
// results of attempts that began before the circuit opened or closed are ignored. A circuit that
// opens again less than Window after it closed goes on with the interval that it had reached.
//
// With the defaults a host on which everything fails gets, after the first second, one or two
// requests a second from each Breaker. That is what it takes to open the circuit at all (MinCalls
// in Window). A host that is well again is asked within a second. A fleet of thousands of processes
// may want a larger ProbeEvery, which makes the return slower.
//
// The zero value is the default breaker. A Transport without a Breaker has one of its own; to
// read or change circuits by hand, give it one. One Breaker may serve several Transports. Its
// fields must not be changed, nor the Breaker copied, after its first use. It takes about 1 KiB
// for every group.
type Breaker struct {
	// FailureRatio is the part of the calls that must have failed for the circuit to open. 0 is
	// 0.5, and more than 1 is 1. If negative, no circuit opens but by [Breaker.Hold].
	FailureRatio float64

	// MinCalls is how many calls must have ended within Window for the circuit to open. 0 is 20;
	// negative is 1.
	MinCalls int

	// Window is how long a call counts. It rolls on in tenths. 0 or negative is 10 s; the least is
	// 10 ms.
	Window time.Duration

	// ProbeAfter is the longest time from the opening of a circuit to its first probe. 0 or
	// negative is 200 ms, or ProbeEvery if that is less; the least is 10 ms.
	ProbeAfter time.Duration

	// ProbeEvery is the longest time from one probe to the next. 0 or negative is 1 s. It is never
	// less than ProbeAfter.
	ProbeEvery time.Duration

	// MaxGroups bounds the number of circuits. When there are more, the one used longest ago is
	// forgotten, which makes it closed: of those that are closed, or if there is none, of the open
	// ones. A circuit that is held open by hand is never forgotten. 0 is 1,024; negative is no
	// limit.
	MaxGroups int

	held     atomic.Int64 // circuits
	mu       sync.Mutex
	circuits table[string, *circuit] // an open one is worth more than a closed one
	last     atomic.Pointer[circuit] // the most recently used of circuits, written under mu
}

// A State is the state of a circuit.
type State string

// The states of a circuit.
const (
	StateClosed   State = "closed"    // every attempt goes through
	StateOpen     State = "open"      // no attempt does
	StateHalfOpen State = "half-open" // a probe is under way, or the next attempt is one
)

// A Circuit is what a [Breaker] knows about a group.
type Circuit struct {
	// Group is the name of the group: see [Transport.Group].
	Group string

	// State is the state of the circuit now.
	State State

	// Held reports whether the circuit is held open by hand.
	Held bool

	// Until is when the next attempt may go through, as a probe. It is zero if State is closed or
	// the circuit is held. If it has passed, the next attempt is a probe.
	Until time.Time

	// Calls is the number of attempts that ended in a success or a failure, and Failures of those
	// that failed, while the circuit was closed and within the last Window.
	Calls, Failures int
}

// ErrCircuitOpen is what errors.Is finds in the error of a call that a [Breaker] refused. errors.As
// finds a [*CircuitOpenError].
const ErrCircuitOpen sentinel = "circuit open"

type sentinel string

func (s sentinel) Error() string { return string(s) }

// CircuitOpenError says which host was not asked, and until when it will not be.
type CircuitOpenError struct {
	// Group is the group whose circuit is open, as the Breaker knows it.
	Group string
	// Host is the host and port of the request.
	Host string
	// Until is when the next attempt may go through, as a probe. It is zero if the circuit is held
	// open by hand.
	Until time.Time
}

func (e *CircuitOpenError) Error() string {
	const most = 200
	if e.Until.IsZero() {
		return "circuit held open for " + plain.Text(e.Group, most)
	}
	return fmt.Sprintf("circuit open for %s until %s",
		plain.Text(e.Group, most), e.Until.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// Is makes errors.Is(err, ErrCircuitOpen) true.
func (e *CircuitOpenError) Is(target error) bool { return target == ErrCircuitOpen }

// Circuit returns what is known about a group. A group that is not known is closed.
func (b *Breaker) Circuit(group string) Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.circuits.entries[group]; e != nil {
		return e.value.snapshot()
	}
	return Circuit{Group: group, State: StateClosed}
}

// Circuits returns what is known about all groups, in the order of their names.
func (b *Breaker) Circuits() []Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Circuit, 0, len(b.circuits.entries))
	for _, e := range b.circuits.entries {
		all = append(all, e.value.snapshot())
	}
	slices.SortFunc(all, func(x, y Circuit) int { return strings.Compare(x.Group, y.Group) })
	return all
}

// Hold opens the circuit of a group and keeps it open until [Breaker.Reset], without any probe: for
// a maintenance or an incident. Attempts that are under way go on. The group need not be known yet.
//
// An observer learns of a change by Hold or Reset from the next call of the group.
func (b *Breaker) Hold(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.circuits.entries[group]
	if e == nil {
		b.last.Store(nil) // it may be the one that is forgotten
		b.add(&circuit{of: b, group: strings.Clone(group)})
		e = b.circuits.entries[group]
	}
	if e.value.setByHand(StateOpen) {
		b.held.Add(1)
	}
	b.circuits.rate(e, e.value.worth())
}

// Reset closes the circuit of a group and forgets what was counted. Attempts that are under way no
// longer count.
func (b *Breaker) Reset(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.circuits.entries[group]
	if e == nil {
		return
	}
	if e.value.setByHand(StateClosed) {
		b.held.Add(-1)
	}
	b.circuits.rate(e, e.value.worth())
}

// allow asks for the leave to send an attempt.
func (b *Breaker) allow(to *target) (permit, *CircuitOpenError) {
	if b.FailureRatio < 0 && b.held.Load() == 0 {
		return permit{}, nil
	}
	to.circuit = b.circuit(to)
	p, refused := to.circuit.allow()
	if refused != nil {
		refused.Host = hostPort(to.req.URL)
	}
	return p, refused
}

// rate says in the table what a circuit is worth, unless it was forgotten.
func (b *Breaker) rate(c *circuit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.circuits.entries[c.group]; e != nil && e.value == c {
		b.circuits.rate(e, c.worth())
	}
}

// circuit returns that of the target's group, made when there is none. Most calls go where the last
// one went: then neither the lock nor the table is needed, nor the name of the group, if the URL is
// written as it was.
func (b *Breaker) circuit(to *target) *circuit {
	last := b.last.Load()
	var scheme, host string
	if to.hook == nil {
		scheme, host = to.req.URL.Scheme, to.req.URL.Host
		if last != nil && last.host == host && last.scheme == scheme {
			to.name = last.group
			return last
		}
	}
	group := to.group()
	if last != nil && last.group == group {
		return last
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if last != nil {
		b.circuits.get(last.group) // its uses since it became the last one
	}
	e := b.circuits.get(group)
	if e == nil {
		b.add(&circuit{of: b, group: group, scheme: strings.Clone(scheme), host: strings.Clone(host)})
		e = b.circuits.entries[group]
	}
	b.last.Store(e.value)
	return e.value
}

// add puts a new circuit into the table.
func (b *Breaker) add(c *circuit) {
	c.state = StateClosed
	c.start()
	b.circuits.put(c.group, c, 0, limit(b.MaxGroups, defaultMaxGroups))
}

func (b *Breaker) window() time.Duration {
	const least, most = 10 * time.Millisecond, never / 2 // gobreaker adds a tenth
	return min(max(durationOr(b.Window, 10*time.Second), least), most)
}

// probing returns the first interval of the probes, and the longest.
func (b *Breaker) probing() (first, most time.Duration) {
	const least = 10 * time.Millisecond
	most = max(durationOr(b.ProbeEvery, time.Second), least)
	first = max(durationOr(b.ProbeAfter, min(200*time.Millisecond, most)), least)
	return first, max(first, most)
}

// durationOr is d, or def if d is zero or negative.
func durationOr(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}
