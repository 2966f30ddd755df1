package retry

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// call is one RoundTrip.
type call struct {
	t       *Transport
	req     *http.Request // the caller's: never changed
	policy  *Policy       // as it was given: see rules
	once    bool
	budget  *Budget
	breaker *Breaker
	report  *Report
	started time.Time // with an observer
	now     time.Time // when the last attempt ended, if it has a record

	key        string // what to add to the header
	sentKey    string // what goes out
	repeatable bool   // as far as method and key go

	body     requestBody
	resp     *http.Response // in hand
	attempts []sent         // all, but for a success that nobody watches
	changes  []stateChange  // of the circuit, to be observed when no permit is held
}

// begin fills in the call, which RoundTrip has on its stack.
func (c *call) begin(t *Transport, req *http.Request) {
	o := overridesOf(req.Context())
	c.t, c.req, c.once, c.report = t, req, o.once, o.report
	c.policy = cmp.Or(o.policy, t.Policy, &t.policy)
	c.budget = cmp.Or(c.policy.Budget, &t.budget)
	c.breaker = cmp.Or(t.Breaker, &t.breaker)
	if t.Observe != nil {
		c.started = time.Now()
	}
	c.body = newRequestBody(req, c.policy.RecordBody)
	c.chooseKey(o.key)
}

// rules is the policy with its defaults. The fields that have one matter only when an attempt has failed.
func (c *call) rules() Policy { return c.policy.withDefaults(c.once) }

func (c *call) host() host { return hostOf(c.req.URL) }

// watched tells whether somebody wants to know of attempts that succeed.
func (c *call) watched() bool { return c.report != nil || c.t.Observe != nil }

// chooseKey finds or makes the key, which a request that only reads does not need. As in net/http, a field without any line
// calls the request idempotent and sends nothing; an empty line is a key that names nothing.
func (c *call) chooseKey(fromContext string) {
	if isSafe(c.req.Method) {
		c.repeatable = true
		return
	}
	if lines, present := callerKeys(c.req.Header); present {
		if len(lines) > 0 {
			c.sentKey = lines[0]
		}
		c.repeatable = len(lines) == 0 || lines[0] != ""
		return
	}
	if fromContext != "" {
		c.key = fromContext
	} else if c.policy.Keys == GenerateKeys && takesKey(c.req.Method) {
		c.key = newKey()
	}
	c.sentKey, c.repeatable = c.key, c.key != ""
}

// end runs however the call ends, by a panic of the base or of a hook too.
func (c *call) end() {
	c.body.end()
	if c.resp != nil {
		c.resp.Body.Close()
	}
}

func (c *call) run() (*http.Response, error) {
	for n := 1; ; n++ {
		permit, reason, err := c.admit()
		if err != nil {
			return c.unsent(n, reason, err)
		}
		a := c.attempt(n, permit)
		if a.Err == nil && a.Status < 400 {
			return c.succeeded(a)
		}
		reason, err = c.decide(&a, permit)
		c.record(a, reason)
		if reason != "" {
			return c.finish(reason, err)
		}
		if reason, err := c.wait(a.Delay); reason != "" {
			return c.unsent(n+1, reason, err)
		}
	}
}

// admit waits until an attempt may be sent.
func (c *call) admit() (permit, Reason, error) {
	ctx := c.req.Context()
	if err := ctx.Err(); err != nil {
		return permit{}, Canceled, err
	}
	if c.policy.HoldHost {
		if d := c.t.holds.wait(c.host(), c.req, time.Now()); d > 0 {
			p := c.rules()
			if err := pause(ctx, d+min(p.jitter(p.BaseDelay), never-d)); err != nil {
				return permit{}, unpaused(ctx, err), err
			}
		}
	}
	p, changes, refused := c.breaker.allow(c.req.URL)
	c.changes = append(c.changes, changes...)
	if refused != nil {
		return permit{}, CircuitOpen, refused
	}
	if err := paced(ctx, c.t.Pace); err != nil {
		c.changes = append(c.changes, p.finish(neutral)...)
		return permit{}, unpaused(ctx, err), err
	}
	return p, "", nil
}

// unpaused tells why a pause was not made, or not to its end.
func unpaused(ctx context.Context, err error) Reason {
	switch {
	case ctx.Err() != nil:
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineTooSoon
	default:
		return NotRetryable
	}
}

// attempt sends the request once. What comes back is in c.resp and in the record's Err.
func (c *call) attempt(n int, p permit) (a sent) {
	a.Number = n
	says := neutral // also of an attempt that ends by a panic or by runtime.Goexit
	returned := false
	defer func() {
		c.changes = append(c.changes, p.finish(says)...)
		if !returned {
			c.body.abandon()
		}
	}()
	req, err := c.next()
	if err != nil {
		returned = true
		a.Err = err
		c.refund() // GetBody failed, so this was to be a repetition
		return a
	}
	start := time.Now()
	c.resp, a.Err = c.send(req)
	returned = true
	if c.resp != nil {
		a.Status = c.resp.StatusCode
	}
	says = health(a.Status, a.Err != nil && c.fault() != "")
	if says != success || c.watched() {
		c.now = time.Now()
		a.Elapsed = c.now.Sub(start)
	}
	return a
}

// next returns the request for the next attempt: the caller's own where nothing about it has to change, so that a read costs
// no copy.
func (c *call) next() (*http.Request, error) {
	body, err := c.body.next()
	if err != nil {
		return nil, err
	}
	if c.key == "" && body == nil {
		return c.req, nil
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
	return req, nil
}

// send is Base's RoundTrip, held to its contract and to AttemptTimeout.
func (c *call) send(req *http.Request) (*http.Response, error) {
	resp, err := roundTrip(c.t.base(), req, c.policy.AttemptTimeout)
	switch {
	case err != nil && resp != nil:
		if resp.Body != nil {
			resp.Body.Close()
		}
		return nil, err
	case err == nil && resp == nil:
		return nil, errors.New("retry: the base transport returned neither a response nor an error")
	case resp != nil && resp.Body == nil:
		resp.Body = http.NoBody
	}
	return resp, err
}

// fault tells why an error of the base transport is none of the host's, "" if it may be.
func (c *call) fault() Reason {
	switch {
	case c.req.Context().Err() != nil:
		return Canceled
	case c.body.err() != nil:
		return BodyFailed
	case c.req.Header == nil && c.key == "", !sendable(c.req), !isFieldValue(c.key):
		return InvalidRequest
	}
	return ""
}

// decide says why there is no further attempt, and with which error beside the attempt's own; or it sets when there is one, and
// takes its token from the budget.
func (c *call) decide(a *sent, under permit) (Reason, error) {
	p := c.rules()
	var asked time.Duration
	if a.Err != nil {
		if reason := c.fault(); reason != "" {
			return reason, c.req.Context().Err()
		}
	} else {
		a.resp = c.resp
		asked = askedToWait(c.resp.Header, c.now)
		if p.Retryable != nil {
			a.read(c.req)
		}
		if p.HoldHost && asked > 0 && asked <= p.MaxRetryAfter {
			c.hold(a, asked)
		}
	}
	switch {
	case a.Status != 0 && retryhint.Refused(c.resp.Header):
		return ToldNotTo, nil
	case !p.worthRepeating(a.Attempt):
		return NotRetryable, nil
	case !c.repeatable && !neverSent(a.Err):
		return NotIdempotent, nil
	case !c.body.replayable():
		return BodyNotReplayable, nil
	}
	delay, source, reason := p.schedule(c.req.Context(), a.Number, asked)
	if reason != "" {
		return reason, nil
	}
	if until := under.openUntil(); until.After(c.now.Add(delay)) {
		return CircuitOpen, &CircuitOpenError{Host: c.host().String(), Until: until}
	}
	if !c.budget.take(c.host()) {
		return BudgetExhausted, nil
	}
	if !c.body.rewind() {
		c.refund()
		return BodyNotReplayable, nil
	}
	a.Delay, a.Source = delay, source
	if source == FromRetryAfter {
		a.read(c.req) // what it says of the time counts from now
	}
	return "", nil
}

// hold makes a server's word, to be left alone for a while, good for other requests too.
func (c *call) hold(a *sent, asked time.Duration) {
	switch a.Status {
	case http.StatusTooManyRequests:
		a.read(c.req)
		if a.Code != apierror.CodeRateLimitExceeded {
			return
		}
	case http.StatusServiceUnavailable:
	default:
		return
	}
	c.t.holds.hold(c.host(), c.req, c.now.Add(asked))
}

// succeeded ends a call with the response in hand.
func (c *call) succeeded(a sent) (*http.Response, error) {
	if !c.budget.full() {
		c.budget.succeeded(c.host())
	}
	if !c.watched() {
		return c.handBack()
	}
	a.RequestID = requestID(c.resp.Header)
	c.record(a, Succeeded)
	return c.finish(Succeeded, nil)
}

// record keeps an attempt and tells of it.
func (c *call) record(a sent, reason Reason) {
	c.last().read(c.req) // so that however many attempts there are, one response is kept
	if c.watched() {
		a.read(c.req)
	}
	c.attempts = remember(c.attempts, a)
	c.observeBreaker()
	c.observe(Event{Kind: EventAttempt, Attempt: a.Attempt})
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
		c.attempts[i].read(c.req)
		attempts = append(attempts, c.attempts[i].Attempt)
	}
	return attempts
}

func (c *call) observeBreaker() {
	changes := c.changes
	c.changes = nil
	for _, s := range changes {
		c.observe(Event{Kind: EventBreaker, From: s.from, To: s.to})
	}
}

// wait waits for d, or says why not. Before, it throws away the response in hand: a large body should not wait with us, nor a
// connection, which is left to another request where that takes no more than the bounds of a drain. If it took the time that
// was left for the wait, the response stays.
func (c *call) wait(d time.Duration) (Reason, error) {
	ctx := c.req.Context()
	if resp := c.resp; resp != nil {
		head := drain(resp)
		if endsBefore(ctx, d) {
			return DeadlineTooSoon, nil
		}
		c.resp = nil
		resp.Body.Close()
		if len(head) > 4<<10 {
			c.last().read(c.req)
		}
	}
	if err := sleep(ctx, d); err != nil {
		return Canceled, err
	}
	return "", nil
}

// unsent ends a call whose attempt n was not sent.
func (c *call) unsent(n int, reason Reason, err error) (*http.Response, error) {
	if n > 1 {
		c.refund()
	}
	c.observeBreaker()
	return c.finish(reason, err)
}

// refund gives back the token of a repetition that is not sent.
func (c *call) refund() { c.budget.refund(c.host()) }

// finish hands back the response in hand, else an error. end is what ended the call, apart from the last attempt's error.
func (c *call) finish(reason Reason, end error) (*http.Response, error) {
	if c.report != nil {
		c.report.set(c.history(), reason, c.sentKey)
	}
	var err error
	if c.resp == nil {
		ends := []error{end}
		if reason == Canceled {
			ends = append(ends, context.Cause(c.req.Context()))
		}
		err = newError(c.req, c.history(), reason, ends...)
	}
	if reason != Succeeded {
		c.log(reason, end)
	}
	if c.t.Observe != nil {
		c.observe(Event{Kind: EventCall, Attempt: c.last().Attempt, Reason: reason, Elapsed: time.Since(c.started)})
	}
	if err != nil {
		return nil, err
	}
	return c.handBack()
}

// handBack gives the response in hand to the caller.
func (c *call) handBack() (*http.Response, error) {
	resp := c.resp
	c.resp = nil
	resp.Request = c.req
	return resp, nil
}
