package retry

import (
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// An Event is the argument of [Transport.Observe]. There is an event at the end of every
// attempt, at the end of every call, and for every change of a circuit.
type Event struct {
	// Kind says which kind of event this is.
	Kind Kind

	// Method is the method of the request.
	Method string

	// Host is the host of the request's URL, with the port if the URL has one.
	Host string

	// Group is the group of the request: see [Transport.Group].
	Group string

	// Attempt is the attempt that ended or, for a call, its last attempt. It is zero if
	// the call made no attempt.
	Attempt Attempt

	// Reason is why the call ended.
	Reason Reason

	// Elapsed is the time from the start of the call to the response's header or the
	// error, including waits.
	Elapsed time.Duration

	// From and To are the circuit's states.
	From, To State
}

// Kind is the kind of an [Event].
type Kind string

// The kinds of events. The comments name the fields that are set in addition to Method,
// Host and Group.
const (
	KindAttempt Kind = "attempt" // Attempt
	KindCall    Kind = "call"    // Attempt, Reason, Elapsed
	KindCircuit Kind = "circuit" // From, To
)

// observe sets the fields that all events of the call have in common, and calls the
// observer.
func (c *call) observe(e Event) {
	if c.t.Observe == nil {
		return
	}
	e.Method = methodOf(c.req)
	e.Host = plain.Text(c.req.URL.Host, maxText)
	e.Group = plain.Text(c.group, maxText)
	c.t.Observe(c.req.Context(), e)
}

// observeCircuit calls the observer for the changes of the circuit since its last call.
func (c *call) observeCircuit() {
	for _, s := range c.circuit.takeChanges() {
		c.observe(Event{Kind: KindCircuit, From: s.from, To: s.to})
	}
}
