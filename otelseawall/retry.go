package otelseawall

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/seawall-go/seawall/retry"
)

type retryInstruments struct {
	calls, attempts, retries, changes counter
	delay, held                       histogram
}

func (t *Telemetry) newRetryInstruments() retryInstruments {
	return retryInstruments{
		calls: t.newCounter("seawall.retry.calls", "{call}", "Calls, by the reason why they ended.",
			keyGroup, semconv.HTTPRequestMethodKey, keyReason),
		attempts: t.newCounter("seawall.retry.attempts", "{attempt}", "Attempts.",
			keyGroup, semconv.HTTPRequestMethodKey, semconv.ErrorTypeKey),
		retries: t.newCounter("seawall.retry.retries", "{attempt}", "Attempts after the first of a call.", keyGroup),
		changes: t.newCounter("seawall.retry.circuit.changes", "{change}", "Changes of a circuit, by its new state.", keyGroup, keyState),
		delay:   t.newHistogram("seawall.retry.delay", "Time between an attempt and the next.", keyGroup, keyDelaySource),
		held:    t.newHistogram("seawall.retry.held", "Time that Pace and HoldHost held an attempt.", keyGroup),
	}
}

// Transport returns a RoundTripper that sends requests through a Transport, with a span for each
// call and one for each attempt. It also reports the Transport's budget and circuits.
//
// It sets fields of the Transport, so call it before the Transport's first use: Base and Observe,
// which still call what they were, and Breaker and the Budget of Policy if they are nil. If Base
// makes spans itself, as otelhttp.NewTransport does, they are below those of the attempts.
func (t *Telemetry) Transport(tr *retry.Transport) http.RoundTripper {
	base, observe := tr.Base, tr.Observe
	if base == nil {
		base = http.DefaultTransport
	}
	tr.Base = &attempts{t, base}
	tr.Observe = func(ctx context.Context, e retry.Event) {
		t.observeRetry(ctx, e)
		if observe != nil {
			observe(ctx, e)
		}
	}
	if tr.Breaker == nil {
		tr.Breaker = new(retry.Breaker)
	}
	var policy retry.Policy
	if tr.Policy != nil {
		policy = *tr.Policy
	}
	if policy.Budget == nil {
		policy.Budget = new(retry.Budget)
	}
	tr.Policy = &policy
	t.observeGroups(policy.Budget, tr.Breaker)
	return &calls{t, tr}
}

// attemptName returns the name of the span of an attempt. The semantic conventions want HTTP for an
// unknown method.
func attemptName(method string) string {
	if method = methodOf(method); method == other {
		return "HTTP"
	}
	return method
}

// callNames are the names of the spans of calls, by method.
var callNames = map[string]string{
	http.MethodConnect: "retry CONNECT", http.MethodDelete: "retry DELETE", http.MethodGet: "retry GET", http.MethodHead: "retry HEAD",
	http.MethodOptions: "retry OPTIONS", http.MethodPatch: "retry PATCH", http.MethodPost: "retry POST", http.MethodPut: "retry PUT",
	http.MethodTrace: "retry TRACE", "QUERY": "retry QUERY", other: "retry HTTP",
}

// calls makes a span for each call.
type calls struct {
	t  *Telemetry
	tr *retry.Transport
}

// callKey is the key under which a call's context holds its state.
type callKey struct{}

// call is the state of a call.
type call struct {
	span trace.Span

	mu       sync.Mutex
	attempts int
	open     *attempt // the last attempt, until its span has ended
}

// attempt is the span of an attempt.
type attempt struct {
	span     trace.Span
	returned atomic.Pointer[time.Time] // when Base returned
}

// RoundTrip implements [http.RoundTripper].
func (c *calls) RoundTrip(req *http.Request) (*http.Response, error) {
	if !c.t.traces(req.Context()) {
		return c.tr.RoundTrip(req)
	}
	ctx, span := c.t.tracer.Start(req.Context(), callNames[methodOf(req.Method)])
	describeRequest(span, req)
	state := &call{span: span}
	defer func() { // Base may panic
		state.end(func(trace.Span) {})
		span.End()
	}()
	return c.tr.RoundTrip(req.WithContext(context.WithValue(ctx, callKey{}, state)))
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (c *calls) CloseIdleConnections() { c.tr.CloseIdleConnections() }

// attempts makes a span for each attempt. observeRetry ends it, because it knows more.
type attempts struct {
	t    *Telemetry
	base http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (a *attempts) RoundTrip(req *http.Request) (*http.Response, error) {
	state, ok := req.Context().Value(callKey{}).(*call)
	if !ok { // without spans, or the Transport was called directly
		return a.base.RoundTrip(req)
	}
	ctx, span := a.t.tracer.Start(req.Context(), attemptName(req.Method), trace.WithSpanKind(trace.SpanKindClient))
	describeRequest(span, req)
	this := state.begin(span)
	req = a.t.propagate(ctx, req)
	resp, err := a.base.RoundTrip(req)
	now := time.Now()
	this.returned.Store(&now)
	return resp, err
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (a *attempts) CloseIdleConnections() {
	if c, ok := a.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// propagate returns the request to send: its header has the context of the span.
func (t *Telemetry) propagate(ctx context.Context, req *http.Request) *http.Request {
	p := t.propagator
	if p == nil {
		p = otel.GetTextMapPropagator()
	}
	req = req.WithContext(ctx)
	if len(p.Fields()) > 0 {
		req.Header = req.Header.Clone()
		p.Inject(ctx, propagation.HeaderCarrier(req.Header))
	}
	return req
}

// begin begins the next attempt.
func (c *call) begin(span trace.Span) *attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attempts > 0 {
		span.SetAttributes(semconv.HTTPRequestResendCount(c.attempts))
	}
	c.attempts++
	c.open = &attempt{span: span}
	return c.open
}

// end ends the last attempt, unless it has ended. describe adds to its span.
func (c *call) end(describe func(trace.Span)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		return
	}
	if c.open.span.IsRecording() {
		describe(c.open.span)
	}
	if returned := c.open.returned.Load(); returned != nil {
		c.open.span.End(trace.WithTimestamp(*returned))
	} else {
		c.open.span.End() // the Transport has not waited for Base
	}
	c.open = nil
}

// observeRetry reports an event of a Transport.
func (t *Telemetry) observeRetry(ctx context.Context, e retry.Event) {
	state, _ := ctx.Value(callKey{}).(*call)
	method := methodOf(e.Method)
	switch e.Kind {
	case retry.KindAttempt:
		a := e.Attempt
		t.retry.attempts.count(ctx, e.Group, method, errorType(a))
		if a.Number > 1 {
			t.retry.retries.count(ctx, e.Group)
		}
		if a.Delay > 0 {
			t.retry.delay.record(ctx, a.Delay, e.Group, delaySource(a))
		}
		if a.Held > 0 {
			t.retry.held.record(ctx, a.Held, e.Group)
		}
		if state != nil {
			state.end(func(span trace.Span) { describeAttempt(span, a) })
		}
	case retry.KindCall:
		t.retry.calls.count(ctx, e.Group, method, string(e.Reason))
		if state != nil {
			state.describe(e)
		}
	case retry.KindCircuit:
		t.retry.changes.count(ctx, e.Group, string(e.To))
	}
}

// errorType returns the value of error.type for an attempt. It is empty for a success.
func errorType(a retry.Attempt) string {
	switch {
	case a.Status >= 400:
		return strconv.Itoa(a.Status)
	case a.Err == nil:
		return ""
	case errors.Is(a.Err, context.Canceled):
		return "canceled"
	case isTimeout(a.Err):
		return "timeout"
	default:
		return semconv.ErrorType(cause(a.Err)).Value.AsString()
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// cause returns the error at the end of a chain, whose type says most.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func delaySource(a retry.Attempt) string {
	if a.RetryAfter > 0 {
		return "retry_after"
	}
	return "backoff"
}

// describeAttempt adds to the span of an attempt what is known when the attempt has ended.
func describeAttempt(span trace.Span, a retry.Attempt) {
	if a.Status > 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(a.Status))
	}
	if text := errorType(a); text != "" {
		span.SetAttributes(semconv.ErrorTypeKey.String(text))
		span.SetStatus(codes.Error, "")
	}
	span.SetAttributes(present(keyRequestID.String(a.RequestID), keyErrorCode.String(string(a.Code)))...)
	if a.Delay > 0 {
		span.SetAttributes(keyDelay.Float64(a.Delay.Seconds()), keyDelaySource.String(delaySource(a)))
	}
	if a.Held > 0 {
		span.SetAttributes(keyHeld.Float64(a.Held.Seconds()))
	}
}

// describe adds to the span of a call what is known when the call has ended.
func (c *call) describe(e retry.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.span.IsRecording() {
		return
	}
	c.span.SetAttributes(keyAttempts.Int(c.attempts), keyReason.String(string(e.Reason)))
	if e.Reason == retry.ReasonSucceeded {
		return
	}
	text := errorType(e.Attempt)
	if text == "" {
		text = string(e.Reason) // no attempt was made, or the call ended before the next one
	}
	c.span.SetAttributes(semconv.ErrorTypeKey.String(text))
	c.span.SetStatus(codes.Error, "")
}

// describeRequest adds the attributes that the semantic conventions require for a request.
func describeRequest(span trace.Span, req *http.Request) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(methodAttributes(req.Method)...)
	span.SetAttributes(semconv.ServerAddress(req.URL.Hostname()), semconv.URLFull(withoutSecrets(req.URL)))
	if port := portOf(req.URL); port > 0 {
		span.SetAttributes(semconv.ServerPort(port))
	}
}

func portOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	switch u.Scheme {
	case "http":
		return 80
	case "https":
		return 443
	default:
		return 0
	}
}

func withoutSecrets(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// The states of a circuit.
var states = []retry.State{retry.StateClosed, retry.StateHalfOpen, retry.StateOpen}

// observeGroups reports the buckets and the circuits of all groups.
func (t *Telemetry) observeGroups(budget *retry.Budget, breaker *retry.Breaker) {
	tokens, err := t.meter.Float64ObservableGauge("seawall.retry.budget.tokens",
		metric.WithUnit("{retry}"), metric.WithDescription("Retries that the budget of a group still allows."))
	handle(err)
	circuits := t.gauge("seawall.retry.circuit.state", "{circuit}", "Circuits in a state.")
	budgets, byState := t.newSeries(keyGroup), t.newSeries(keyGroup, keyState)
	t.observe(func(o metric.Observer) {
		left := make(map[labels]float64) // the least, of groups beyond the bound
		count := make(map[labels]int64)
		note := func(b retry.Bucket) {
			l := budgets.limit(b.Group)
			if least, ok := left[l]; !ok || b.Tokens < least {
				left[l] = b.Tokens
			}
		}
		for _, c := range breaker.Circuits() {
			note(budget.Bucket(c.Group)) // of a group whose bucket is full too
			for _, s := range states {
				if l := byState.limit(c.Group, string(s)); s == c.State {
					count[l]++
				} else {
					count[l] += 0
				}
			}
		}
		for _, b := range budget.Buckets() {
			note(b)
		}
		for l, n := range left {
			if !math.IsInf(n, 1) {
				o.ObserveFloat64(tokens, n, budgets.option(l[:]))
			}
		}
		for l, n := range count {
			o.ObserveInt64(circuits, n, byState.option(l[:]))
		}
	}, tokens, circuits)
}
