package retry

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A Breaker stops sending to a host that only fails. It keeps a circuit per scheme, host and port:
//
//   - closed, it lets every attempt through, and opens when enough of those of the last Window failed;
//   - open, it refuses every attempt at once, for OpenFor, with a [CircuitOpenError];
//   - half-open, after that, it lets Probes attempts through: if these succeed it closes, if one fails it opens again.
//
// A 5xx (but 501), a transport error and an attempt that ran into AttemptTimeout are failures. A 429, any other 4xx and a call
// that its caller cancelled say nothing about the host's health and are not counted; but a 4xx other than 429 in answer to a
// probe shows a host that works again, and closes the circuit.
//
// The zero value is the default breaker. One Breaker may serve several Transports. It must not be copied or changed after
// its first use. It takes about 1 KiB for every host.
type Breaker struct {
	// FailureRatio is the part of the calls that must have failed for the circuit to open. 0 is 0.5; negative: no breaker,
	// it never opens.
	FailureRatio float64

	// MinCalls is how many calls must have ended within Window before the ratio means anything. 0 is 20; negative is 1.
	MinCalls int

	// Window is how long a call counts. It rolls on in tenths. 0 is 10 s.
	Window time.Duration

	// OpenFor is how long the circuit stays open. 0 is 5 s.
	OpenFor time.Duration

	// Probes is how many attempts are let through to try a host again, and must succeed. 0 is 1.
	Probes int

	// ProbeTimeout is how long a probe may take, up to the response's header, before it counts as failed and no longer
	// stands in the way of another one. 0 is 30 s.
	ProbeTimeout time.Duration

	// MaxHosts bounds the number of circuits; the one used longest ago is forgotten, which is to say closed. 0 is 1,024;
	// negative: no limit.
	MaxHosts int

	mu    sync.Mutex
	hosts lru[host, *circuit]
	last  atomic.Pointer[circuit] // the most recently used of hosts, written under mu
}

// A BreakerState is the state of a circuit.
type BreakerState string

// The states of a circuit.
const (
	BreakerClosed   BreakerState = "closed"
	BreakerOpen     BreakerState = "open"
	BreakerHalfOpen BreakerState = "half-open"
)

// ErrCircuitOpen is what errors.Is finds in the error of a call that a [Breaker] refused. errors.As finds a [*CircuitOpenError].
const ErrCircuitOpen sentinel = "circuit open"

type sentinel string

func (s sentinel) Error() string { return string(s) }

// CircuitOpenError says which host was not asked, and until when it will not be.
type CircuitOpenError struct {
	// Host is the host and port.
	Host string
	// Until is when the circuit half-opens; while a probe is under way, when that is given up at the latest.
	Until time.Time
}

func (e *CircuitOpenError) Error() string {
	return fmt.Sprintf("circuit open for %s until %s", e.Host, e.Until.UTC().Format(time.RFC3339))
}

// Is makes errors.Is(err, ErrCircuitOpen) true.
func (e *CircuitOpenError) Is(target error) bool { return target == ErrCircuitOpen }

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

// circuit is one host's breaker. All calls into gobreaker are made under mu, so its OnStateChange, which it calls under a
// lock of its own, can write here, and nobody else is called before both locks are free again.
type circuit struct {
	scheme, host string // of the URL that it was made for

	mu      sync.Mutex
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	state   BreakerState
	until   time.Time // when it was last opened, plus OpenFor
	probes  []*probe  // under way
	changes []stateChange
}

// probe is an attempt that was let through half-open. Without a look at its age it would block the circuit for ever if it
// never ended: gobreaker's half-open state has no end of its own.
type probe struct {
	started time.Time
	done    func(error) // nil once called: gobreaker would count a second call too
}

type stateChange struct{ from, to BreakerState }

// permit is the leave to send one attempt; it must be finished. The zero value is that of a breaker that is off.
type permit struct {
	circuit *circuit
	done    func(error)
	probe   *probe // holds done instead, for an attempt that was let through half-open
}

// allow asks for the leave to send an attempt to the URL's host. Changes of state are returned with either result.
func (b *Breaker) allow(u *url.URL) (permit, []stateChange, *CircuitOpenError) {
	if b.FailureRatio < 0 {
		return permit{}, nil, nil
	}
	c := b.circuit(u)
	c.mu.Lock()
	defer c.mu.Unlock()
	done, err := c.breaker.Allow()
	probeTimeout := orDefault(b.ProbeTimeout, 30*time.Second)
	if errors.Is(err, gobreaker.ErrTooManyRequests) && c.failProbes(time.Now().Add(-probeTimeout)) {
		done, err = c.breaker.Allow()
	}
	switch {
	case err != nil:
		until := c.until
		if errors.Is(err, gobreaker.ErrTooManyRequests) && len(c.probes) > 0 {
			until = c.probes[0].started.Add(probeTimeout)
		}
		return permit{}, c.takeChanges(), &CircuitOpenError{Host: hostOf(u).String(), Until: until}
	case c.state == BreakerHalfOpen:
		p := &probe{started: time.Now(), done: done}
		c.probes = append(c.probes, p)
		return permit{circuit: c, probe: p}, c.takeChanges(), nil
	default:
		return permit{circuit: c, done: done}, c.takeChanges(), nil
	}
}

// failProbes ends the probes that started before then, and tells whether there were any.
func (c *circuit) failProbes(then time.Time) bool {
	before := len(c.probes)
	c.probes = slices.DeleteFunc(c.probes, func(p *probe) bool {
		late := p.started.Before(then)
		if late {
			p.done(errFailure)
			p.done = nil
		}
		return late
	})
	return len(c.probes) < before
}

// finish reports the attempt's outcome.
func (p permit) finish(o outcome) []stateChange {
	c := p.circuit
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	done := p.done
	if p.probe != nil {
		done, p.probe.done = p.probe.done, nil
		c.probes = slices.DeleteFunc(c.probes, func(other *probe) bool { return other == p.probe })
		if o == answered {
			o = success
		}
	}
	if done == nil {
		return nil // it was given up as too late
	}
	switch o {
	case success:
		done(nil)
	case failure:
		done(errFailure)
	default:
		done(errNeutral)
	}
	return c.takeChanges()
}

// openUntil tells until when further attempts to the host are refused; a time that has passed, or zero, if they are not.
func (p permit) openUntil() time.Time {
	c := p.circuit
	if c == nil {
		return time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != BreakerOpen {
		return time.Time{}
	}
	return c.until
}

func (c *circuit) takeChanges() []stateChange {
	changes := c.changes
	c.changes = nil
	return changes
}

// circuit returns that of the URL's host, made when there is none. Most calls go where the last one went: then neither the lock
// nor the table is needed, if the URL is written as it was. The last circuit is the first in the order of use already, and never
// the one that is forgotten.
func (b *Breaker) circuit(u *url.URL) *circuit {
	if c := b.last.Load(); c != nil && c.host == u.Host && c.scheme == u.Scheme {
		return c
	}
	h := hostOf(u)
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.hosts.get(h)
	if !ok {
		c = b.newCircuit(u)
		b.hosts.put(h.clone(), c, limit(b.MaxHosts, defaultMaxHosts))
	}
	b.last.Store(c)
	return c
}

func (b *Breaker) newCircuit(u *url.URL) *circuit {
	var (
		c       = &circuit{scheme: strings.Clone(u.Scheme), host: strings.Clone(u.Host), state: BreakerClosed}
		ratio   = orDefault(b.FailureRatio, 0.5)
		least   = uint64(max(orDefault(b.MinCalls, 20), 1))
		window  = max(orDefault(b.Window, 10*time.Second), 10)
		openFor = max(orDefault(b.OpenFor, 5*time.Second), 2)
	)
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(max(orDefault(b.Probes, 1), 1)),
		Interval:     window,
		BucketPeriod: window / 10,
		Timeout:      openFor - 1, // gobreaker half-opens after this, not at it
		ReadyToTrip: func(n gobreaker.Counts) bool {
			// Not n.Requests: that also counts calls that are under way or neutral.
			ended := uint64(n.TotalSuccesses) + uint64(n.TotalFailures)
			return ended >= least && float64(n.TotalFailures) >= ratio*float64(ended)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			c.state = BreakerState(to.String())
			if to == gobreaker.StateOpen {
				c.until = time.Now().Add(openFor)
			}
			c.changes = append(c.changes, stateChange{BreakerState(from.String()), c.state})
		},
	})
	return c
}
