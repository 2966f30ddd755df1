package retry

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// sustained is the shortest time over which failures in a row can open a circuit. When
// one process behind a load balancer dies, many connections fail within milliseconds, but
// the other processes still work.
const sustained = 100 * time.Millisecond

// outcome is what an attempt says about the host.
type outcome int

const (
	neutral  outcome = iota // nothing
	failure                 // it does not work
	success                 // it works
	answered                // it works, but counting such answers would hide failures: a 4xx
)

var (
	errNeutral = errors.New("neither a success nor a failure")
	errFailure = errors.New("failure")
)

// circuit decides whether an attempt of one group may be sent. gobreaker counts the
// attempts and keeps the state. Its Allow makes an open circuit half-open, so the circuit
// does not call Allow before it is time for a probe. The circuit does not report an
// attempt to gobreaker if its state has changed since the attempt began (see era). All
// calls of gobreaker are made with mu held, so its OnStateChange, which it calls under
// its own lock, can write to the circuit.
type circuit struct {
	of    *Breaker
	group string

	mu       sync.Mutex
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	state    State
	held     bool
	era      uint64        // increases when the circuit opens or closes
	probe    func(error)   // gobreaker's, while it is half-open
	next     time.Time     // when the next probe may be sent
	interval time.Duration // from that probe to the one after it
	closed   time.Time     // when a probe last closed the circuit
	rowSince time.Time     // when the first of the last failures in a row ended
	changes  []stateChange // that were not observed yet
}

type stateChange struct{ from, to State }

func newCircuit(b *Breaker, group string) *circuit {
	c := &circuit{of: b, group: group, state: StateClosed}
	c.start()
	return c
}

// start gives the circuit a new gobreaker.
func (c *circuit) start() {
	window := c.of.window()
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Interval:      window,
		BucketPeriod:  window / 10,
		Timeout:       1, // next decides instead
		ReadyToTrip:   c.trips,
		IsExcluded:    func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, _, to gobreaker.State) { c.enter(State(to.String())) },
	})
}

// trips reports whether the circuit opens. gobreaker calls it after a failure.
func (c *circuit) trips(n gobreaker.Counts) bool {
	now := time.Now()
	if n.ConsecutiveFailures == 1 {
		c.rowSince = now
	}
	// n.Requests includes attempts that are neutral or have not ended.
	// n.ConsecutiveFailures includes failures that are older than Window.
	succeeded, failed := uint64(n.TotalSuccesses), uint64(n.TotalFailures)
	ended := succeeded + failed
	least := c.of.minCalls()
	if c.of.FailureRatio < 0 || ended < least {
		return false
	}
	if float64(failed) >= c.of.failureRatio()*float64(ended) {
		return true
	}
	// The number of failures in a row that it takes is least/2, divided by the part of
	// the attempts before them that succeeded.
	row := min(failed, uint64(n.ConsecutiveFailures))
	return 2*row*succeeded >= max(least, 10)*(ended-row) && now.Sub(c.rowSince) >= sustained
}

// permit is the permission to send one attempt. It must be finished exactly once. A
// breaker that is off gives the zero value.
type permit struct {
	circuit *circuit
	era     uint64
	done    func(error) // gobreaker's; nil for a probe
}

// allow returns the permission to send an attempt, or the error that refuses it.
func (c *circuit) allow() (permit, *CircuitOpenError) {
	if c == nil {
		return permit{}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := permit{circuit: c, era: c.era}
	if c.state == StateClosed {
		p.done, _ = c.breaker.Allow() // no error while closed
		return p, nil
	}
	now := time.Now()
	if refused := c.refusal(now); refused != nil {
		return permit{}, refused
	}
	c.schedule(now)
	if c.probe == nil {
		c.probe, _ = c.breaker.Allow()
	}
	return p, nil
}

// refusal returns the error that would refuse an attempt at the given time, or nil if the
// attempt could be sent.
func (c *circuit) refusal(at time.Time) *CircuitOpenError {
	switch {
	case c.held:
		return &CircuitOpenError{Group: c.group}
	case c.state != StateClosed && c.next.After(at):
		return &CircuitOpenError{Group: c.group, Until: c.next}
	default:
		return nil
	}
}

// schedule sets the time when the next probe may be sent, and doubles the interval after
// that.
func (c *circuit) schedule(now time.Time) {
	first, longest := c.of.probing()
	if c.interval == 0 {
		c.interval = first
	}
	c.next = now.Add(c.interval/2 + rand.N(c.interval/2) + 1)
	if c.interval > longest/2 {
		c.interval = longest
	} else {
		c.interval *= 2
	}
}

// finish reports the attempt's outcome.
func (p permit) finish(o outcome) {
	c := p.circuit
	if c == nil {
		return
	}
	c.mu.Lock()
	switch {
	case p.era != c.era:
	case p.done != nil:
		p.done(resultOf(o))
	default:
		c.finishProbe(o)
	}
	changed := p.era != c.era
	c.mu.Unlock()
	if changed {
		c.of.updateWorth(c)
	}
}

func resultOf(o outcome) error {
	switch o {
	case success:
		return nil
	case failure:
		return errFailure
	default:
		return errNeutral
	}
}

// finishProbe closes or opens the circuit, unless the outcome is neutral. If another
// probe has failed while this one was in progress, gobreaker is open and has no probe, so
// a success needs a new one.
func (c *circuit) finishProbe(o outcome) {
	switch o {
	case success, answered:
		if c.probe == nil {
			c.probe, _ = c.breaker.Allow()
		}
		c.endProbe(nil)
	case failure:
		c.endProbe(errFailure)
	}
}

func (c *circuit) endProbe(result error) {
	if c.probe != nil {
		c.probe(result)
		c.probe = nil
	}
}

// unsent returns a permit that was not used. If it was for a probe, the next attempt may
// be a probe.
func (p permit) unsent() {
	if c := p.circuit; c != nil && p.done == nil {
		c.mu.Lock()
		if p.era == c.era {
			c.next = time.Now()
		}
		c.mu.Unlock()
	}
	p.finish(neutral)
}

// refusal returns the error that would refuse another attempt at the given time, or nil
// if the attempt could be sent.
func (p permit) refusal(at time.Time) *CircuitOpenError {
	c := p.circuit
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusal(at)
}

// takeChanges returns the changes of the state since its last call.
func (c *circuit) takeChanges() []stateChange {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := c.changes
	c.changes = nil
	return changes
}

// change sets the state and keeps the change for an observer.
func (c *circuit) change(to State) {
	const maxChanges = 16
	if len(c.changes) == maxChanges {
		c.changes = slices.Delete(c.changes, 0, 1)
	}
	c.changes = append(c.changes, stateChange{c.state, to})
	c.state = to
}

// enter updates the circuit after a change of gobreaker's state.
func (c *circuit) enter(s State) {
	from, now := c.state, time.Now()
	c.change(s)
	switch {
	case s == StateClosed:
		c.era++
		c.closed = now
	case from == StateClosed:
		c.era++
		if now.Sub(c.closed) >= c.of.window() {
			c.interval = 0
		}
		c.schedule(now)
	}
}

// setByHand sets the circuit to a new state, either held open or closed, with no counts.
// It reports whether held changed.
func (c *circuit) setByHand(s State) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != s {
		c.change(s)
	}
	hold := s == StateOpen
	changed := c.held != hold
	c.held, c.probe, c.interval, c.closed = hold, nil, 0, time.Time{}
	c.era++
	c.start()
	return changed
}

func (c *circuit) snapshot() Circuit {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Circuit{Group: c.group, State: c.state, Held: c.held}
	switch {
	case c.held:
	case c.state == StateClosed:
		c.breaker.State() // drops attempts that are older than Window
		n := c.breaker.Counts()
		s.Calls, s.Failures = int(n.TotalSuccesses)+int(n.TotalFailures), int(n.TotalFailures)
	default:
		s.Until = c.next
		if !c.next.After(time.Now()) {
			s.State = StateHalfOpen
		}
	}
	return s
}

// worth returns the worth of the circuit in the breaker's table: an open one protects a
// host, and a held one must not be lost.
func (c *circuit) worth() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.held:
		return math.Inf(1)
	case c.state != StateClosed:
		return 1
	default:
		return 0
	}
}
