package retry

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// call is one RoundTrip.
type call struct {
	t       *Transport
	req     *http.Request // the caller's: never changed
	who     caller
	policy  *Policy // as it was given: see rules
	once    bool
	budget  *Budget
	breaker *Breaker
	report  *Report
	started time.Time // with an observer
	now     time.Time // when the last attempt ended, if it has a record
	to      target

	key       string       // what to add to the header
	sentKey   string       // what goes out
	keyed     bool         // a read, or a write under a key: it may arrive twice
	connected *atomic.Bool // of a request that may not: whether it has had a connection

	body     requestBody
	resp     *http.Response // in hand
	token    bool           // of the budget, for a retry that is not sent yet
	attempts []sent         // all, but for a success that nobody watches
}

// begin fills in the call, which RoundTrip has on its stack.
func (c *call) begin(t *Transport, req *http.Request) {
	o := overridesOf(req.Context())
	c.t, c.req, c.once, c.report = t, req, o.once, o.report
	c.who = caller{req.Context(), req.Cancel} //nolint:staticcheck // http.Client.Timeout closes it
	c.to = target{req: req, hook: t.Group}
	c.policy = cmp.Or(o.policy, t.Policy, &t.policy)
	c.budget = cmp.Or(c.policy.Budget, &t.budget)
	c.breaker = cmp.Or(t.Breaker, &t.breaker)
	if t.Observe != nil {
		c.started = time.Now()
	}
	c.body = newRequestBody(req, c.policy.RecordBody)
	c.chooseKey(o.key)
	if !c.keyed {
		c.connected = new(atomic.Bool)
	}
}

// rules is the policy with its defaults. The fields that have one matter only when an attempt
// has failed.
func (c *call) rules() Policy { return c.policy.withDefaults(c.once) }

// watched reports whether somebody wants to know of attempts that succeed.
func (c *call) watched() bool { return c.report != nil || c.t.Observe != nil }

// chooseKey finds or makes the key, which a request that only reads does not need. As in
// net/http, a field without any line calls the request idempotent and sends nothing. An empty
// line is a key that names nothing.
func (c *call) chooseKey(fromContext string) {
	if isSafe(c.req.Method) {
		c.keyed = true
		return
	}
	if lines, present := callerKeys(c.req.Header); present {
		if len(lines) > 0 {
			c.sentKey = lines[0]
		}
		c.keyed = len(lines) == 0 || lines[0] != ""
		return
	}
	if fromContext != "" {
		c.key = fromContext
	} else if c.policy.Keys == KeysGenerated && takesKey(c.req.Method) {
		c.key = redirectedKey(c.req)
		if c.key == "" {
			c.key = newKey()
		}
	}
	c.sentKey, c.keyed = c.key, c.key != ""
}

// end runs however the call ends, by a panic of the base or of a hook too.
func (c *call) end() {
	c.body.end()
	if c.token {
		c.budget.refund(c.to.group())
	}
	if c.resp != nil {
		c.resp.Body.Close()
	}
}

func (c *call) run() (*http.Response, error) {
	for n := 1; ; n++ {
		permit, reason, err := c.admit()
		if err != nil {
			return c.unsent(reason, err)
		}
		a := c.attempt(n, permit)
		if a.Err == nil && a.Status < 400 {
			return c.succeeded(a)
		}
		reason, err = c.decide(&a, permit)
		if reason == "" {
			c.discard(&a)
		}
		c.hold(&a)
		c.record(a, reason)
		if reason != "" {
			return c.finish(reason, err)
		}
		if err := c.who.sleep(a.Delay); err != nil {
			return c.unsent(ReasonCanceled, err)
		}
	}
}

// admit waits until an attempt may be sent.
func (c *call) admit() (permit, Reason, error) {
	if err := c.who.err(); err != nil {
		return permit{}, ReasonCanceled, err
	}
	if c.policy.HoldHost && c.t.holds.any(time.Now()) {
		if d := c.t.holds.wait(c.to.group(), c.req, time.Now()); d > 0 {
			p := c.rules()
			if err := c.who.pause(d + min(jitter(p.BaseDelay), never-d)); err != nil {
				return permit{}, c.unpaused(err), err
			}
		}
	}
	p, refused := c.breaker.allow(&c.to)
	if refused != nil {
		return permit{}, ReasonCircuitOpen, refused
	}
	if err := paced(c.who, c.t.Pace); err != nil {
		p.unsent()
		return permit{}, c.unpaused(err), err
	}
	return p, "", nil
}

// unpaused says why a pause was not made, or not to its end.
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

// attempt sends the request once. What comes back is in c.resp and in the record's Err.
func (c *call) attempt(n int, p permit) (a sent) {
	a.Number = n
	says := neutral // also of an attempt that ends by a panic or by runtime.Goexit
	returned := false
	defer func() {
		p.finish(says)
		if !returned {
			c.body.abandon()
		}
	}()
	req := c.next()
	c.token = false
	start := time.Now()
	c.resp, a.Err = c.send(req)
	returned = true
	if c.resp != nil {
		a.Status = c.resp.StatusCode
	} else {
		a.fault = c.fault(a.Err)
	}
	says = health(&a, blameless(a.fault, a.Err))
	if says != success || c.watched() {
		c.now = time.Now()
		a.Elapsed = c.now.Sub(start)
	}
	return a
}

// next returns the request for the next attempt. It is the caller's own if nothing about it has to
// change, so that a read costs no copy.
func (c *call) next() *http.Request {
	body := c.body.next()
	if c.key == "" && body == nil {
		return c.req
	}
	next := struct { // one allocation for both
		http.Request
		key [1]string
	}{Request: *c.req}
	req := &next.Request
	if body != nil {
		req.Body, req.GetBody = body, c.body.getBody()
	}
	if c.key != "" {
		req.Header = maps.Clone(c.req.Header)
		if req.Header == nil {
			req.Header = make(http.Header)
		}
		next.key[0] = c.key
		req.Header[keyHeader] = next.key[:]
	}
	return req
}

// send is Base's RoundTrip, held to its contract and to AttemptTimeout. The Request of its response
// is req, with its key: a redirect that http.Client follows finds the key there.
func (c *call) send(req *http.Request) (*http.Response, error) {
	sent := req
	resp, err := checked(respond(c.who, c.policy.AttemptTimeout, func(ctx context.Context) (*http.Response, error) {
		if c.connected != nil {
			ctx = traced(ctx, c.connected)
		}
		if ctx != c.who.ctx {
			sent = req.WithContext(ctx)
		}
		return c.t.base().RoundTrip(sent)
	}))
	if resp != nil && (resp.Request == nil || resp.Request == sent) {
		resp.Request = req
	}
	return resp, err
}

// traced returns a context that tells whether a request with it was given a connection.
func traced(ctx context.Context, connected *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
}

// fault says why an error of the base transport is not, or not only, the host's. It is empty if it
// may be.
func (c *call) fault(err error) Reason {
	switch {
	case c.who.err() != nil:
		return ReasonCanceled
	case c.body.err() != nil:
		return ReasonBodyFailed
	case isGivenUp(err):
		return ReasonAlreadyRetried
	case !isFieldValue(c.key), !sendable(c.req, err):
		return ReasonInvalidRequest
	}
	return ""
}

// blameless reports whether a fault says nothing about the host. A Transport further in may have
// found that out, or may not have sent anything.
func blameless(fault Reason, err error) bool {
	if fault != ReasonAlreadyRetried {
		return fault != ""
	}
	inner, _ := errors.AsType[*Error](err)
	switch inner.Reason {
	case ReasonCanceled, ReasonBodyFailed, ReasonInvalidRequest:
		return true
	default:
		return len(inner.Attempts) == 0
	}
}

// decide says why there is no further attempt, and with which error beside the attempt's own; or it
// sets when there is one, and takes its token from the budget.
func (c *call) decide(a *sent, under permit) (Reason, error) {
	p := c.rules()
	switch a.fault {
	case "":
	case ReasonBodyFailed:
		return a.fault, c.body.err()
	default:
		return a.fault, c.who.err()
	}
	failure := Failure{Attempt: a.Attempt, Method: methodOf(c.req), URL: c.req.URL}
	if c.resp != nil {
		a.unparsed, a.header = true, c.resp.Header
		a.RetryAfter, _ = retryhint.After(a.header, c.now)
		if p.Retryable != nil || p.HoldHost && a.Status == http.StatusTooManyRequests {
			a.head = peek(c.resp)
			failure.Attempt = a.known(c.req)
		}
		failure.Header = c.resp.Header
	}
	switch {
	case c.resp != nil && givenUp(c.resp, c.req):
		return ReasonAlreadyRetried, nil
	case c.resp != nil && retryhint.Refused(c.resp.Header):
		return ReasonToldNotTo, nil
	case !p.worthRetrying(failure):
		return ReasonNotRetryable, nil
	case !c.keyed && (c.connected.Load() || !neverSent(a.Err)):
		return ReasonNotIdempotent, nil
	case !c.body.replayable():
		return ReasonBodyNotReplayable, nil
	}
	delay, reason := p.schedule(c.who, a.Number, a.RetryAfter)
	if reason != "" {
		return reason, nil
	}
	if refused := under.refusal(c.now.Add(delay)); refused != nil {
		refused.Host = hostPort(c.req.URL)
		return ReasonCircuitOpen, refused
	}
	if !c.budget.take(c.to.group()) {
		return ReasonBudgetExhausted, nil
	}
	c.token = true
	if reason, err := c.body.prepare(); reason != "" {
		return reason, err
	}
	a.Delay = delay
	return "", nil
}

// discard throws away the response in hand, because there will be another one. A large body must
// not wait with us, nor a connection, which is left to another request if that takes no more
// than the bounds of a drain, and if there is time for it.
func (c *call) discard(a *sent) {
	resp := c.resp
	if resp == nil {
		return
	}
	c.resp = nil
	switch {
	case c.who.endsWithin(a.Delay + min(drainTime, never-a.Delay)):
		resp.Body.Close()
	case a.head != nil: // it was peeked at
		discard(c.who, resp.Body)
	default:
		a.head = discard(c.who, resp.Body)
	}
	// What Retry-After says counts from now, and a large body is not kept.
	if a.RetryAfter > 0 || len(a.head) > 4<<10 {
		a.parse(c.req)
	}
}

// hold lets other requests wait as well, if the server asked to be left alone for a while.
func (c *call) hold(a *sent) {
	if !c.policy.HoldHost || a.RetryAfter <= 0 || a.RetryAfter > c.rules().MaxRetryAfter {
		return
	}
	switch a.Status {
	case http.StatusTooManyRequests:
		a.parse(c.req)
		if a.Code != apierror.CodeRateLimitExceeded {
			return // it may be about one idempotency key
		}
	case http.StatusServiceUnavailable:
	default:
		return
	}
	c.t.holds.hold(c.to.group(), c.req, c.now.Add(a.RetryAfter))
}

// succeeded ends a call with the response in hand.
func (c *call) succeeded(a sent) (*http.Response, error) {
	if !c.budget.full() {
		c.budget.succeeded(c.to.group())
	}
	if !c.watched() {
		return c.handBack(ReasonSucceeded), nil
	}
	a.RequestID = requestID(c.resp.Header)
	c.record(a, ReasonSucceeded)
	return c.finish(ReasonSucceeded, nil)
}

// record keeps an attempt and tells of it.
func (c *call) record(a sent, reason Reason) {
	c.last().parse(c.req) // so that however many attempts there are, one body is kept
	if c.watched() {
		a.parse(c.req)
	}
	c.attempts = remember(c.attempts, a)
	c.observeBreaker()
	c.observe(Event{Kind: KindAttempt, Attempt: a.Attempt})
	if reason == "" {
		c.log("", nil)
	}
}

// last is the attempt recorded last, a zero one if there was none.
func (c *call) last() *sent {
	if len(c.attempts) == 0 {
		return new(sent)
	}
	return &c.attempts[len(c.attempts)-1]
}

// history is the record for others.
func (c *call) history() []Attempt {
	attempts := slices.Grow([]Attempt(nil), len(c.attempts))
	for i := range c.attempts {
		c.attempts[i].parse(c.req)
		attempts = append(attempts, c.attempts[i].Attempt)
	}
	return attempts
}

func (c *call) observeBreaker() {
	for _, s := range c.to.circuit.takeChanges() {
		c.observe(Event{Kind: KindCircuit, From: s.from, To: s.to})
	}
}

// unsent ends a call one of whose attempts was not sent.
func (c *call) unsent(reason Reason, err error) (*http.Response, error) {
	c.observeBreaker()
	return c.finish(reason, err)
}

// finish hands back the response in hand, else an error. end is what ended the call, apart from the
// last attempt's error.
func (c *call) finish(reason Reason, end error) (*http.Response, error) {
	if c.report != nil {
		c.report.set(c.history(), reason)
		if c.sentKey != "" {
			c.report.setKey(c.sentKey)
		}
	}
	var err error
	if c.resp == nil {
		ends := []error{end}
		if reason == ReasonCanceled {
			ends = append(ends, context.Cause(c.who.ctx))
		}
		err = newError(c.req, c.history(), reason, ends...)
	}
	if reason != ReasonSucceeded {
		c.log(reason, end)
	}
	if c.t.Observe != nil {
		c.observe(Event{Kind: KindCall, Attempt: c.last().Attempt, Reason: reason, Elapsed: time.Since(c.started)})
	}
	if err != nil {
		return nil, err
	}
	return c.handBack(reason), nil
}

// handBack gives the response in hand to the caller.
func (c *call) handBack(reason Reason) *http.Response {
	resp := c.resp
	c.resp = nil
	if reason != ReasonSucceeded && reason != ReasonNotRetryable {
		markGivenUp(resp)
	}
	return resp
}
