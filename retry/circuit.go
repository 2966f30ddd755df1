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

// sustained is how long a row of failures must have lasted to open a circuit by itself. When a
// process behind a load balancer dies, many connections fail within a few milliseconds, and all
// others are well.
const sustained = 100 * time.Millisecond

// outcome is what an attempt says about the host's health.
type outcome int

const (
	neutral  outcome = iota // nothing
	failure                 // it is not well
	success                 // it is well
	answered                // it works, but a count of such calls would hide failures: a 4xx
)

var (
	errNeutral = errors.New("neither a success nor a failure")
	errFailure = errors.New("failure")
)

// circuit is one group's breaker. gobreaker counts and knows the state. It half-opens as soon as it
// is asked, so nobody asks it before the time for a probe has come, nor with the result of an
// attempt that the state has left behind. All calls into gobreaker are made under mu, so its
// OnStateChange, which it calls under its own lock, can write here.
type circuit struct {
	of           *Breaker
	group        string
	scheme, host string // of the URL that it was made for; empty if a hook named the group

	mu       sync.Mutex
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	state    State
	held     bool
	era      uint64        // counts openings and closings
	probe    func(error)   // of gobreaker, while that is half-open
	next     time.Time     // when the next probe may be sent
	interval time.Duration // from that probe to the one after it
	closed   time.Time     // when a probe last closed the circuit
	changes  []stateChange // not observed yet, in their order
}

type stateChange struct{ from, to State }

// permit is the leave to send one attempt; it must be finished once. The zero value is that of a
// breaker that is off.
type permit struct {
	circuit *circuit
	era     uint64
	done    func(error) // of gobreaker; nil for a probe
}

func (c *circuit) allow() (permit, *CircuitOpenError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := permit{circuit: c, era: c.era}
	if c.state == StateClosed {
		p.done, _ = c.breaker.Allow() // which it always does while closed
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

// refusal is the error of an attempt that would begin at some time, or nil if it might be sent.
func (c *circuit) refusal(at time.Time) *CircuitOpenError {
	switch {
	case c.held:
		return &CircuitOpenError{Group: c.group}
	case c.state != StateClosed && c.next.After(at):
		return &CircuitOpenError{Group: c.group, Until: c.next}
	}
	return nil
}

// schedule sets when the next probe may be sent, and doubles the interval that follows it.
func (c *circuit) schedule(now time.Time) {
	first, most := c.of.probing()
	if c.interval == 0 {
		c.interval = first
	}
	c.next = now.Add(c.interval/2 + rand.N(c.interval/2) + 1)
	if c.interval > most/2 {
		c.interval = most
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
	if p.era == c.era {
		if p.done != nil {
			p.done(resultOf(o))
		} else {
			c.finishProbe(o)
		}
	}
	changed := p.era != c.era
	c.mu.Unlock()
	if changed {
		c.of.rate(c)
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

func (c *circuit) finishProbe(o outcome) {
	switch o {
	case success, answered:
		if c.probe == nil { // another probe failed while this one was under way
			c.probe, _ = c.breaker.Allow()
		}
		if c.probe != nil {
			c.probe(nil)
			c.probe = nil
		}
	case failure:
		if c.probe != nil {
			c.probe(errFailure)
			c.probe = nil
		}
	}
}

// unsent takes back the leave for an attempt that is not sent after all. The next one may be the
// probe that it would have been.
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

// refusal is the error of a further attempt at some time, or nil if it might be sent.
func (p permit) refusal(at time.Time) *CircuitOpenError {
	c := p.circuit
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusal(at)
}

// takeChanges returns, in their order, the changes of the state that nobody has taken yet.
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

// change changes the state.
func (c *circuit) change(to State) {
	const most = 16 // if nobody takes them
	if len(c.changes) == most {
		c.changes = slices.Delete(c.changes, 0, 1)
	}
	c.changes = append(c.changes, stateChange{c.state, to})
	c.state = to
}

// enter is told of every change of the state.
func (c *circuit) enter(s State) {
	from := c.state
	c.change(s)
	switch now := time.Now(); {
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

// setByHand starts the circuit anew in a state, held there if that is open. It reports whether that
// changed whether the circuit is held.
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
		c.breaker.State() // drops what is older than Window
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

// worth is that of the circuit in its table.
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

// start gives the circuit a new gobreaker.
func (c *circuit) start() {
	var (
		b      = c.of
		ratio  = min(orDefault(b.FailureRatio, 0.5), 1)
		least  = uint64(max(orDefault(b.MinCalls, 20), 1))
		window = b.window()
		since  time.Time // when the first of the last failures in a row ended
	)
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     window,
		BucketPeriod: window / 10,
		Timeout:      1, // refusal decides instead
		ReadyToTrip: func(n gobreaker.Counts) bool {
			now := time.Now()
			if n.ConsecutiveFailures == 1 {
				since = now
			}
			// Not n.Requests, which also counts calls that are under way or neutral. And not
			// n.ConsecutiveFailures alone, which may know of some that Window has left behind.
			good, failed := uint64(n.TotalSuccesses), uint64(n.TotalFailures)
			ended := good + failed
			if b.FailureRatio < 0 || ended < least {
				return false
			}
			row := min(failed, uint64(n.ConsecutiveFailures))
			return float64(failed) >= ratio*float64(ended) ||
				2*row*good >= max(least, 10)*(ended-row) && now.Sub(since) >= sustained
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, _, to gobreaker.State) { c.enter(State(to.String())) },
	})
}
