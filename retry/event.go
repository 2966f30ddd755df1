package retry

import (
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// An Event is what [Transport.Observe] gets: for every attempt and every call when it has
// ended, and for every change of a circuit.
type Event struct {
	// Kind is what the event is about.
	Kind Kind

	// Method is the request's.
	Method string

	// Host is the request's, as in its URL.
	Host string

	// Group is the group of the request: see [Transport.Group].
	Group string

	// Attempt is the attempt that ended or, for a call, the last one. It is zero if there was
	// none.
	Attempt Attempt

	// Reason is why the call ended.
	Reason Reason

	// Elapsed is the time that the call took, including waits, until the response's header.
	Elapsed time.Duration

	// From and To are the circuit's states.
	From, To State
}

// Kind is what an [Event] is about.
type Kind string

// The kinds of events, with the fields that each sets beside Method, Host and Group.
const (
	KindAttempt Kind = "attempt" // Attempt
	KindCall    Kind = "call"    // Attempt, Reason, Elapsed
	KindCircuit Kind = "circuit" // From, To
)

// observe adds to e what all events of the call have in common, and calls the observer.
func (c *call) observe(e Event) {
	if c.t.Observe == nil {
		return
	}
	e.Method = methodOf(c.req)
	e.Host = plain.Text(c.req.URL.Host, maxText)
	e.Group = plain.Text(c.group, maxText)
	c.t.Observe(c.req.Context(), e)
}

// observeCircuit reports the changes of the circuit that were not reported yet.
func (c *call) observeCircuit() {
	for _, s := range c.circuit.takeChanges() {
		c.observe(Event{Kind: KindCircuit, From: s.from, To: s.to})
	}
}
