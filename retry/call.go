package retry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// call is the state of one call of RoundTrip.
type call struct {
	t       *Transport
	req     *http.Request // the caller's, which is never changed
	who     caller
	policy  Policy // with its defaults
	budget  *Budget
	breaker *Breaker
	report  *Report // nil without WithReport
	group   string

	key       requestKey
	connected *atomic.Bool // whether a request that is not idempotent has had a connection
	body      requestBody

	circuit  *circuit       // nil if the breaker is off
	held     time.Duration  // how long the next attempt was held back
	resp     *http.Response // of the last attempt, until it is handed back or discarded
	token    bool           // one of the budget's is taken for a retry that is not sent yet
	started  time.Time
	ended    time.Time // when the last attempt ended
	attempts []Attempt // a success is there only for a report or an observer
}

func newCall(t *Transport, req *http.Request) call {
	o := overridesOf(req.Context())
	p := cmp.Or(o.policy, t.Policy, &t.policy)
	c := call{
		t:       t,
		req:     req,
		who:     caller{req.Context(), req.Cancel}, //nolint:staticcheck // http.Client.Timeout closes it
		policy:  p.withDefaults(o.once),
		budget:  cmp.Or(p.Budget, &t.budget),
		breaker: cmp.Or(t.Breaker, &t.breaker),
		report:  o.report,
		key:     chooseKey(req, o.key, p.Keys),
		body:    newRequestBody(req, p.RecordBody),
		started: time.Now(),
	}
	if !c.key.idempotent {
		c.connected = new(atomic.Bool)
	}
	return c
}

// end releases the body, the token and the response that the call still holds. It runs
// after a panic too.
func (c *call) end() {
	c.body.end()
	if c.token {
		c.budget.refund(c.group)
	}
	if c.resp != nil {
		c.resp.Body.Close()
	}
}

func (c *call) run() (*http.Response, error) {
	c.group = c.t.group(c.req)
	for n := 1; ; n++ {
		p, reason, err := c.admit()
		if err != nil {
			return c.finish(reason, err)
		}
		a, fault := c.attempt(n, p)
		if a.Err == nil && a.Status < 400 {
			return c.succeeded(a)
		}
		resp, body := c.resp, c.inspect(&a)
		reason, err = c.decide(&a, fault, p)
		if reason == "" {
			body = c.discard(a.Delay, body)
		}
		if resp != nil {
			a.describeResponse(resp, body, c.req)
		}
		c.hold(&a)
		c.record(a)
		if reason != "" {
			return c.finish(reason, err)
		}
		c.log("", nil)
		if err := c.who.sleep(a.Delay); err != nil {
			return c.finish(ReasonCanceled, err)
		}
	}
}

// admit waits until an attempt may be sent. If it may not, it returns the reason and an error.
func (c *call) admit() (permit, Reason, error) {
	if err := c.who.err(); err != nil {
		return permit{}, ReasonCanceled, err
	}
	c.held = 0
	if err := c.waitForHold(); err != nil {
		return permit{}, c.unpaused(err), err
	}
	c.circuit = c.breaker.circuit(c.group)
	p, refused := c.circuit.allow()
	if refused != nil {
		return permit{}, ReasonCircuitOpen, c.named(refused)
	}
	if err := c.paced(); err != nil {
		p.unsent()
		return permit{}, c.unpaused(err), err
	}
	return p, "", nil
}

// pause is who.pause, and measures how long the next attempt is held.
func (c *call) pause(d time.Duration) error {
	if d <= 0 {
		return c.who.err()
	}
	start := time.Now()
	defer func() { c.held += time.Since(start) }()
	return c.who.pause(d)
}

// unpaused returns the reason why a pause was refused or cut short.
func (c *call) unpaused(err error) Reason {
	switch {
	case c.who.err() != nil:
		return ReasonCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonDeadlineTooSoon
	default:
		return ReasonNotRetryable
	}
}

// named adds the request's host to the error.
func (c *call) named(refused *CircuitOpenError) error {
	refused.Host = hostPort(c.req.URL)
	return refused
}

// attempt sends the request once. It leaves the response, if there is one, in c.resp. If
// the host is not to blame for an error, fault is the reason.
func (c *call) attempt(n int, p permit) (a Attempt, fault Reason) {
	a.Number, a.Held = n, c.held
	result := neutral
	returned := false
	defer func() { // Base may panic or call runtime.Goexit
		p.finish(result)
		if !returned {
			c.body.abandon()
		}
	}()
	req := c.next()
	c.token = false
	start := time.Now()
	c.resp, a.Err = c.send(req)
	returned = true
	c.ended = time.Now()
	a.Elapsed = c.ended.Sub(start)
	if c.resp != nil {
		a.Status = c.resp.StatusCode
	} else {
		fault = c.fault(a.Err)
	}
	result = health(a, fault)
	return a, fault
}

// succeeded ends a call with the response in c.resp, which is a success.
func (c *call) succeeded(a Attempt) (*http.Response, error) {
	c.budget.succeeded(c.group)
	if c.report == nil && c.t.Observe == nil {
		return c.handBack(ReasonSucceeded), nil
	}
	a.RequestID = requestID(c.resp.Header)
	c.record(a)
	return c.finish(ReasonSucceeded, nil)
}

// record keeps an attempt and calls the observer.
func (c *call) record(a Attempt) {
	c.attempts = remember(c.attempts, a)
	c.observeCircuit()
	c.observe(Event{Kind: KindAttempt, Attempt: a})
}

// last returns the last attempt on record. It is zero if there was none.
func (c *call) last() Attempt {
	if len(c.attempts) == 0 {
		return Attempt{}
	}
	return c.attempts[len(c.attempts)-1]
}

// finish returns the response in c.resp or, if there is none, an error. cause is the
// error that ended the call in addition to the last attempt's error, if there is one.
func (c *call) finish(reason Reason, cause error) (*http.Response, error) {
	c.observeCircuit()
	if c.report != nil {
		c.report.set(c.attempts, reason)
		if c.key.sent != "" {
			c.report.setKey(c.key.sent)
		}
	}
	var err error
	if c.resp == nil {
		err = c.failed(reason, cause)
	}
	if reason != ReasonSucceeded {
		c.log(reason, cause)
	}
	c.observe(Event{Kind: KindCall, Attempt: c.last(), Reason: reason, Elapsed: time.Since(c.started)})
	if err != nil {
		return nil, err
	}
	return c.handBack(reason), nil
}

// failed returns the error of a call without a response.
func (c *call) failed(reason Reason, cause error) *Error {
	causes := []error{cause}
	if reason == ReasonCanceled {
		causes = append(causes, context.Cause(c.who.ctx))
	}
	return newError(c.req, slices.Clone(c.attempts), reason, causes...)
}

// handBack returns the response in c.resp, which belongs to the caller from now on.
func (c *call) handBack(reason Reason) *http.Response {
	resp := c.resp
	c.resp = nil
	if reason != ReasonSucceeded && reason != ReasonNotRetryable {
		markRetried(resp)
	}
	return resp
}
