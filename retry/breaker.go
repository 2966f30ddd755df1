package retry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// A Breaker stops sending to a host on which everything fails, and soon detects that the
// host works again. It keeps a circuit for every group of requests (see
// [Transport.Group]). By default, there is a group for every scheme, host and port.
//
// A 5xx other than 501, a transport error and an attempt that AttemptTimeout ended are
// failures. A status below 400 is a success. A 429, any other 4xx, a 501, and an attempt
// that the caller canceled do not count.
//
// A closed circuit lets every attempt through. It opens when an attempt fails, if at
// least MinCalls attempts have ended within Window, and if
//
//   - the part of them that failed is at least FailureRatio, or
//   - the last ones all failed, over a tenth of a second or more. If all attempts before
//     them succeeded, this takes MinCalls/2 failures in a row, but at least five. The
//     more of the attempts before them failed, the more failures in a row it takes:
//     MinCalls if half of them failed.
//
// The second rule detects an outage that the first rule would miss for a while, because
// of the successes before it. The second rule does not apply to a host on which only some
// requests fail, or to one that loses some of its many connections in one moment.
//
// An open circuit refuses attempts with a [CircuitOpenError]. From time to time it lets
// one through as a probe. The first interval is ProbeAfter. Each interval is twice as
// long as the one before, up to ProbeEvery. Each interval is shortened by a random part
// of up to half, so that many processes do not probe at the same time. A probe that hangs
// does not delay the next one.
//
// From the first probe on, the circuit is half-open. A probe that succeeds closes it. So
// does a probe that is answered with a 501 or with a 4xx other than 429, since the host
// works then. A probe that fails opens the circuit again. If a circuit opens within Window
// after it closed, the probes continue with its last interval. Attempts that began before a
// circuit opened or closed do not count afterward.
//
// With the defaults, a host on which everything fails gets one or two requests a second
// from each Breaker, after the first second. A host that works again is detected within a
// second. With thousands of processes, you may want a larger ProbeEvery, which makes the
// detection slower.
//
// The zero value is a breaker with the defaults. If [Transport.Breaker] is nil, the
// Transport has its own. To read the circuits, or to change them by hand, set that field.
// Several Transports may share a Breaker. A Breaker must not be copied or changed after its
// first use. It takes about 1 KiB for every group.
type Breaker struct {
	// FailureRatio is the part of the attempts that must have failed before a circuit
	// opens. The default is 0.5, and the maximum is 1. If negative, only [Breaker.Hold]
	// opens a circuit.
	FailureRatio float64

	// MinCalls is the number of attempts that must have ended within Window before a
	// circuit can open. The default is 20. If negative, it is 1.
	MinCalls int

	// Window is how long an attempt counts, with a precision of a tenth of Window. If
	// zero or negative, it is 10 seconds. The minimum is 10 milliseconds.
	Window time.Duration

	// ProbeAfter is the longest time from the opening of a circuit to its first probe. If
	// zero or negative, it is 200 milliseconds, or ProbeEvery if that is less. The
	// minimum is 10 milliseconds.
	ProbeAfter time.Duration

	// ProbeEvery is the longest time from one probe to the next. If zero or negative, it
	// is 1 second. The minimum is ProbeAfter.
	ProbeEvery time.Duration

	// MaxGroups is the largest number of circuits to keep. If there are more, the Breaker
	// forgets the closed circuit that was used least recently, or an open one if none is
	// closed. A forgotten circuit counts as closed. The Breaker never forgets a circuit
	// that is held open by hand. The default is 1,024. If negative, there is no limit.
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

// A Circuit describes the circuit of a group in a [Breaker], at one moment.
type Circuit struct {
	// Group is the name of the group: see [Transport.Group].
	Group string

	// State is the state of the circuit.
	State State

	// Held reports whether the circuit is held open by hand.
	Held bool

	// Until is when the next attempt may be sent, as a probe. If that time has passed,
	// the next attempt is a probe. It is zero if the circuit is closed or held open.
	Until time.Time

	// Calls is the number of attempts that succeeded or failed within the last Window.
	// Failures is the number of those that failed. Both are zero unless the circuit is
	// closed.
	Calls, Failures int
}

// ErrCircuitOpen matches, with errors.Is, the error of a call that a [Breaker] refused.
// The error holds a [*CircuitOpenError].
var ErrCircuitOpen = errors.New("retry: circuit open")

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

// Circuit returns the circuit of a group. If the group is unknown, its circuit is closed.
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
// [Breaker.Reset]. Use it for maintenance or in an incident. It does not stop attempts
// that are in progress. The group may be unknown.
//
// [Transport.Observe] learns of a change by Hold or Reset when the group's next call is
// made.
func (b *Breaker) Hold(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(strings.Clone(group))
	if e.value.setByHand(StateOpen) {
		b.held.Add(1)
	}
	b.circuits.setWorth(e, e.value.worth())
}

// Reset closes the circuit of a group and sets its counts to zero. Attempts that are in
// progress do not count afterward.
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
	b.circuits.setWorth(e, e.value.worth())
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

// entry returns the entry of a group. If there is none, it adds one. The caller holds mu.
func (b *Breaker) entry(group string) *entry[string, *circuit] {
	if e := b.circuits.get(group); e != nil {
		return e
	}
	return b.circuits.put(group, newCircuit(b, group), 0, limit(b.MaxGroups, defaultMaxGroups))
}

// updateWorth updates the worth of a circuit, unless it was forgotten.
func (b *Breaker) updateWorth(c *circuit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.circuits.entries[c.group]; e != nil && e.value == c {
		b.circuits.setWorth(e, c.worth())
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
