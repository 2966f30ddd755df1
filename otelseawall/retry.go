package otelseawall

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
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

// Transport returns a RoundTripper that sends requests as tr would, with metrics, and with a span
// for each call and one for each attempt. It copies the fields of tr, and does not change tr.
// Requests that are sent through tr itself are not reported.
//
// If Base makes spans itself, as otelhttp.NewTransport does, they are below those of the attempts.
// The budget and the circuits are reported until the provider of the metrics is shut down, so call
// Transport once for each client, and not for each request.
func (t *Telemetry) Transport(tr *retry.Transport) http.RoundTripper {
	own := &retry.Transport{
		Base:    &attempts{t, tr.Base},
		Policy:  tr.Policy,
		Breaker: cmp.Or(tr.Breaker, new(retry.Breaker)),
		Group:   tr.Group,
		Pace:    tr.Pace,
		Logger:  tr.Logger,
	}
	own.Observe = func(ctx context.Context, e retry.Event) {
		t.observeRetry(ctx, e)
		if tr.Observe != nil {
			tr.Observe(ctx, e)
		}
	}
	t.addClient(own)
	return &calls{t, own}
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

// call is the state of a call. A Transport makes one attempt after the other, on the goroutine of
// the call, so the state needs no lock.
type call struct {
	span     trace.Span
	request  []attribute.KeyValue // the attributes of the request
	attempt  trace.Span           // the last attempt, until its span has ended
	returned time.Time            // when Base returned from it
}

// RoundTrip implements [http.RoundTripper].
func (c *calls) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return c.tr.RoundTrip(req) // it returns an error
	}
	ctx, state := c.t.startCall(req)
	if state == nil {
		return c.tr.RoundTrip(req)
	}
	returned := false
	defer func() {
		if !returned { // Base has panicked
			fail(state.span, "panic")
			state.endAttempt(func(attempt trace.Span) { fail(attempt, "panic") })
		}
		state.span.End()
	}()
	resp, err := c.tr.RoundTrip(req.WithContext(context.WithValue(ctx, callKey{}, state)))
	returned = true
	return resp, err
}

// startCall begins the span of a call. It returns nil if there is no provider. Only an invalid span
// shows that, so it is remembered until the provider is replaced. The context of a caller's span is
// passed on in any case.
func (t *Telemetry) startCall(req *http.Request) (context.Context, *call) {
	ctx, provider := req.Context(), t.tracers()
	if known := t.noSpans.Load(); known != nil && *known == provider && !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, nil
	}
	request := requestAttributes(req)
	ctx, span := t.tracer.Start(ctx, callNames[methodOf(req.Method)], trace.WithAttributes(request...))
	if span.SpanContext().IsValid() {
		return ctx, &call{span: span, request: request}
	}
	if reflect.TypeOf(provider).Comparable() {
		known := provider // so that provider itself is not on the heap
		t.noSpans.Store(&known)
	}
	return ctx, nil
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (c *calls) CloseIdleConnections() { c.tr.CloseIdleConnections() }

// attempts makes a span for each attempt. observeRetry ends it, because it knows more.
type attempts struct {
	t    *Telemetry
	base http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip implements [http.RoundTripper].
func (a *attempts) RoundTrip(req *http.Request) (*http.Response, error) {
	base := orElse(a.base, func() http.RoundTripper { return http.DefaultTransport })
	state, ok := req.Context().Value(callKey{}).(*call)
	if !ok { // there is no provider
		return base.RoundTrip(req)
	}
	ctx, span := a.t.tracer.Start(req.Context(), attemptName(req.Method),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(state.request...))
	state.attempt, state.returned = span, time.Time{}
	sent := a.t.propagate(ctx, req)
	resp, err := base.RoundTrip(sent)
	state.returned = time.Now()
	if resp != nil && resp.Request == sent {
		resp.Request = req // the Transport compares it
	}
	return resp, err
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (a *attempts) CloseIdleConnections() {
	base := orElse(a.base, func() http.RoundTripper { return http.DefaultTransport })
	if c, ok := base.(interface{ CloseIdleConnections() }); ok {
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
	if len(p.Fields()) > 0 && req.Header != nil { // net/http refuses a request without a header
		req.Header = req.Header.Clone()
		p.Inject(ctx, propagation.HeaderCarrier(req.Header))
	}
	return req
}

// endAttempt ends the last attempt, unless it has ended. describe adds to its span.
func (c *call) endAttempt(describe func(trace.Span)) {
	if c.attempt == nil {
		return
	}
	if c.attempt.IsRecording() {
		describe(c.attempt)
	}
	c.attempt.End(trace.WithTimestamp(c.returned)) // a zero time means now
	c.attempt = nil
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
			state.endAttempt(func(span trace.Span) { describeAttempt(span, a) })
		}
	case retry.KindCall:
		t.retry.calls.count(ctx, e.Group, method, string(e.Reason))
		if state != nil && state.span.IsRecording() {
			describeCall(state.span, e)
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
	}
	last := cause(a.Err)
	kind := semconv.ErrorType(last).Value.AsString()
	if kind == "syscall.Errno" { // which says less than its text, such as "connection refused"
		return last.Error()
	}
	return kind
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
	if a.Number > 1 {
		span.SetAttributes(semconv.HTTPRequestResendCount(a.Number - 1))
	}
	if a.Status > 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(a.Status))
	}
	if kind := errorType(a); kind != "" {
		fail(span, kind)
	}
	span.SetAttributes(present(keyRequestID.String(a.RequestID), keyErrorCode.String(string(a.Code)))...)
	if a.Delay > 0 {
		span.SetAttributes(keyDelay.Float64(a.Delay.Seconds()), keyDelaySource.String(delaySource(a)))
	}
	if a.Held > 0 {
		span.SetAttributes(keyHeld.Float64(a.Held.Seconds()))
	}
}

// describeCall adds to the span of a call what is known when the call has ended.
func describeCall(span trace.Span, e retry.Event) {
	span.SetAttributes(keyAttempts.Int(e.Attempt.Number), keyReason.String(string(e.Reason)))
	if e.Reason != retry.ReasonSucceeded {
		fail(span, cmp.Or(errorType(e.Attempt), string(e.Reason))) // perhaps no attempt was made
	}
}

// fail marks a span as failed.
func fail(span trace.Span, kind string) {
	span.SetAttributes(semconv.ErrorTypeKey.String(clean(kind)))
	span.SetStatus(codes.Error, "")
}

// requestAttributes returns the attributes that the semantic conventions require for a request.
// They want them when the span begins, because a sampler may need them.
func requestAttributes(req *http.Request) []attribute.KeyValue {
	attrs := append(methodAttributes(req.Method),
		semconv.ServerAddress(clean(req.URL.Hostname())),
		semconv.URLFull(cleanURL(withoutSecrets(req.URL))))
	if port := portOf(req.URL); port > 0 {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	return attrs
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

// client is what is reported of a Transport whenever the metrics are collected.
type client struct {
	budget  *retry.Budget // of the Transport's policy
	rest    *retry.Budget // of a policy in a context
	breaker *retry.Breaker
}

func (t *Telemetry) addClient(tr *retry.Transport) {
	c := client{tr.DefaultBudget(), tr.DefaultBudget(), tr.Breaker}
	if tr.Policy != nil && tr.Policy.Budget != nil {
		c.budget = tr.Policy.Budget
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients = append(t.clients, c)
}

// The states of a circuit.
var states = []retry.State{retry.StateClosed, retry.StateHalfOpen, retry.StateOpen}

// observeClients reports the buckets and the circuits of all groups.
func (t *Telemetry) observeClients() {
	tokens, err := t.meter.Float64ObservableGauge("seawall.retry.budget.tokens",
		metric.WithUnit("{retry}"), metric.WithDescription("Retries that the budget of a group still allows."))
	handle(err)
	circuits := t.gauge("seawall.retry.circuits", "{circuit}", "Circuits in a state.")
	budgets, byState := t.newSeries(keyGroup), t.newSeries(keyGroup, keyState)
	t.observe(func(o metric.Observer) {
		left := make(map[labels]float64) // the least, of several buckets with the same attributes
		count := make(map[labels]int64)
		note := func(b retry.Bucket) {
			l := budgets.limit(b.Group)
			if least, ok := left[l]; !ok || b.Tokens < least {
				left[l] = b.Tokens
			}
		}
		counted := make(map[*retry.Breaker]bool) // several Transports may share one
		for _, client := range t.allClients() {
			for _, b := range append(client.budget.Buckets(), client.rest.Buckets()...) {
				note(b)
			}
			for _, c := range client.breaker.Circuits() {
				note(client.budget.Bucket(c.Group)) // which may be full
				if counted[client.breaker] {
					continue
				}
				for _, s := range states {
					n := int64(0)
					if s == c.State {
						n = 1
					}
					count[byState.limit(c.Group, string(s))] += n
				}
			}
			counted[client.breaker] = true
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

func (t *Telemetry) allClients() []client {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clip(t.clients) // it is only appended to
}
