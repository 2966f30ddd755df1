package retry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// A Breaker stops sending to a host on which everything fails, and notices soon when the
// host works again. It keeps a circuit for every group of requests (see
// [Transport.Group]): by default for every scheme, host and port.
//
// A 5xx other than 501, a transport error and an attempt that AttemptTimeout ended are
// failures. A status below 400 is a success. A 429, any other 4xx, a 501 and a call that
// its caller canceled say nothing about the host, and do not count.
//
// A closed circuit lets every attempt through. It opens when an attempt fails and, among the
// attempts that ended within Window, there are at least MinCalls, and
//
//   - FailureRatio of them failed, or
//   - the last ones all failed, over a tenth of a second or more. This takes MinCalls/2
//     failures in a row if all attempts before them succeeded, MinCalls if half of those
//     failed, in proportion in between, and five at least.
//
// The second rule finds an outage that the successes before it would outvote for a while.
// A host on which only some requests fail does not meet it, nor does a host that loses
// some of its many connections in one moment.
//
// An open circuit refuses attempts with a [CircuitOpenError]. From time to time it lets
// one through as a probe: the first within ProbeAfter, each following one within twice the
// interval before, up to ProbeEvery. A random part of up to half of each interval is taken
// off, so that many processes do not probe in step. A probe that hangs does not delay the
// next one.
//
// From the first probe on, the circuit is half-open. A probe that succeeds closes it; so
// does a 501 or a 4xx other than 429, which show that the host works. A probe that fails
// opens it again. A circuit that opens again within Window after it closed continues with
// its last interval. Attempts that began before the circuit opened or closed do not count
// afterwards.
//
// With the defaults, a host on which everything fails gets one or two requests a second
// from each Breaker after the first second, and a host that works again is found within a
// second. A fleet of thousands of processes may want a larger ProbeEvery, which makes that
// slower.
//
// The zero value is the default breaker. A Transport without a Breaker has its own; set
// [Transport.Breaker] to read circuits or to change them by hand. Several Transports may
// share a Breaker. It must not be copied or changed after its first use. It takes about 1
// KiB for every group.
type Breaker struct {
	// FailureRatio is the part of the attempts that must have failed for a circuit to open. The
	// default is 0.5, and the maximum is 1. If negative, only [Breaker.Hold] opens a circuit.
	FailureRatio float64

	// MinCalls is how many attempts must have ended within Window for a circuit to open. The
	// default is 20. If negative, it is 1.
	MinCalls int

	// Window is how long an attempt counts, to the nearest tenth of Window. The default is 10
	// seconds, and the minimum is 10 milliseconds.
	Window time.Duration

	// ProbeAfter is the longest time from the opening of a circuit to its first probe. The
	// default is 200 milliseconds, or ProbeEvery if that is less. The minimum is 10
	// milliseconds.
	ProbeAfter time.Duration

	// ProbeEvery is the longest time from one probe to the next. The default is 1 second,
	// and the minimum is ProbeAfter.
	ProbeEvery time.Duration

	// MaxGroups bounds the number of circuits. Above it, the least recently used closed
	// circuit is forgotten, or an open one if none is closed. The next attempt finds a
	// forgotten circuit closed. Circuits held open by hand are never forgotten. The
	// default is 1,024. If negative, there is no bound.
	MaxGroups int

	held     atomic.Int64 // how many circuits are held open
	mu       sync.Mutex
	circuits table[string, *circuit] // see circuit.worth
}

// State is the state of a [Circuit].
type State string

// The states of a circuit.
const (
	StateClosed   State = "closed"    // every attempt is sent
	StateOpen     State = "open"      // no attempt is sent
	StateHalfOpen State = "half-open" // a probe was sent, or the next attempt is one
)

// A Circuit is what a [Breaker] knows about a group.
type Circuit struct {
	// Group is the name of the group: see [Transport.Group].
	Group string

	// State is the state of the circuit.
	State State

	// Held reports whether the circuit is held open by hand.
	Held bool

	// Until is when the next attempt may be sent, as a probe. It is zero if the circuit is
	// closed or held. If it has passed, the next attempt is a probe.
	Until time.Time

	// Calls is the number of attempts that succeeded or failed within the last Window, and
	// Failures the number of those that failed. They are zero unless the circuit is closed.
	Calls, Failures int
}

// ErrCircuitOpen matches, with errors.Is, the error of a call that a [Breaker] refused.
// The error holds a [*CircuitOpenError].
const ErrCircuitOpen sentinel = "retry: circuit open"

type sentinel string

func (s sentinel) Error() string { return string(s) }

// CircuitOpenError is the error of an attempt that a [Breaker] refused.
type CircuitOpenError struct {
	// Group is the group whose circuit is open.
	Group string

	// Host is the host and port of the request.
	Host string

	// Until is when the next attempt may be sent, as a probe. It is zero if the circuit is held
	// open by hand.
	Until time.Time
}

func (e *CircuitOpenError) Error() string {
	const maxGroup = 200
	group := plain.Text(e.Group, maxGroup)
	if e.Until.IsZero() {
		return "retry: circuit held open for " + group
	}
	return fmt.Sprintf("retry: circuit open for %s until %s", group, e.Until.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// Is reports whether target is ErrCircuitOpen.
func (e *CircuitOpenError) Is(target error) bool { return target == ErrCircuitOpen }

// Circuit returns the circuit of a group. An unknown group's circuit is closed.
func (b *Breaker) Circuit(group string) Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.circuits.entries[group]; e != nil {
		return e.value.snapshot()
	}
	return Circuit{Group: group, State: StateClosed}
}

// Circuits returns all circuits, sorted by group.
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

// Hold opens the circuit of a group and keeps it open, without probes, until
// [Breaker.Reset]. Use it for maintenance or in an incident. Attempts that are being sent
// go on. The group may be unknown.
//
// [Transport.Observe] is called for a change by Hold or Reset during the group's next call.
func (b *Breaker) Hold(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(strings.Clone(group))
	if e.value.setByHand(StateOpen) {
		b.held.Add(1)
	}
	b.circuits.rate(e, e.value.worth())
}

// Reset closes the circuit of a group and forgets what was counted. Attempts that are
// being sent do not count afterwards.
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

// circuit returns the circuit of a group. It is nil if the breaker is off.
func (b *Breaker) circuit(group string) *circuit {
	if b.FailureRatio < 0 && b.held.Load() == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entry(group).value
}

// entry returns the entry of a group, which it adds if there is none. It is called with mu
// held.
func (b *Breaker) entry(group string) *entry[string, *circuit] {
	if e := b.circuits.get(group); e != nil {
		return e
	}
	b.circuits.put(group, newCircuit(b, group), 0, limit(b.MaxGroups, defaultMaxGroups))
	return b.circuits.entries[group]
}

// rate updates the worth of a circuit, unless it was forgotten.
func (b *Breaker) rate(c *circuit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.circuits.entries[c.group]; e != nil && e.value == c {
		b.circuits.rate(e, c.worth())
	}
}

func (b *Breaker) failureRatio() float64 { return min(cmp.Or(b.FailureRatio, 0.5), 1) }

func (b *Breaker) minCalls() uint64 { return uint64(max(cmp.Or(b.MinCalls, 20), 1)) }

func (b *Breaker) window() time.Duration {
	const least, most = 10 * time.Millisecond, never / 2 // gobreaker adds a tenth
	return min(max(positiveOr(b.Window, 10*time.Second), least), most)
}

// probing returns the first interval of the probes, and the longest one.
func (b *Breaker) probing() (first, longest time.Duration) {
	const least = 10 * time.Millisecond
	longest = max(positiveOr(b.ProbeEvery, time.Second), least)
	first = max(positiveOr(b.ProbeAfter, min(200*time.Millisecond, longest)), least)
	return first, max(first, longest)
}

// positiveOr returns d if it is positive, otherwise def.
func positiveOr(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}
