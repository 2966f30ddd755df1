package otelseawall

import (
	"context"
	"strconv"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

type serverInstruments struct{ errors, replays counter }

func (t *Telemetry) newServerInstruments() serverInstruments {
	return serverInstruments{
		errors: t.newCounter("seawall.server.errors", "{request}", "Requests that were answered with an error.",
			keyErrorCode, keyErrorType, semconv.HTTPResponseStatusCodeKey, semconv.HTTPRouteKey),
		replays: t.newCounter("seawall.server.replays", "{request}", "Requests that were answered with a replay.", semconv.HTTPRouteKey),
	}
}

// Request reports a request whose handler has returned. It is for seawall.AccessLogOptions.Observe.
// To add to the span of otelhttp, that middleware must be around the access log.
func (t *Telemetry) Request(ctx context.Context, e seawall.Event) {
	route := e.Route()
	if e.Code != "" && t.server.errors.Enabled(ctx) { // Itoa allocates
		t.server.errors.count(ctx, string(e.Code), string(e.Type), strconv.Itoa(e.Status), route)
	}
	if e.Replayed {
		t.server.replays.count(ctx, route)
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(present(
		keyRequestID.String(e.RequestID),
		keyErrorCode.String(string(e.Code)),
		keyErrorType.String(string(e.Type)),
		keyLateCode.String(string(e.LateCode)),
		keyOriginal.String(e.OriginalRequest))...)
}

type ratelimitInstruments struct{ requests, failures counter }

func (t *Telemetry) newRatelimitInstruments() ratelimitInstruments {
	return ratelimitInstruments{
		requests: t.newCounter("seawall.ratelimit.requests", "{request}", "Requests that a rule applied to.", keyRule, keyLimitOutcome, keyShadow),
		failures: t.newCounter("seawall.ratelimit.failures", "{request}", "Requests for which a limiter failed, whether they were let through or not.", keyRule),
	}
}

// RateLimit reports what a rule did to a request. It is for the Observe of ratelimit.Options,
// ratelimit.ConcurrentOptions and ratelimit.ShedOptions.
func (t *Telemetry) RateLimit(ctx context.Context, e ratelimit.Event) {
	shadow := ""
	if e.Shadow {
		shadow = "true"
	}
	outcome := e.Outcome
	if outcome == ratelimit.OutcomeDenied && e.Decision.Allowed {
		outcome = ratelimit.OutcomeAllowed // another rule has denied the request
	}
	t.ratelimit.requests.count(ctx, e.Rule, string(outcome), shadow)
	if e.Err != nil && outcome != ratelimit.OutcomeNoKey {
		t.ratelimit.failures.count(ctx, e.Rule)
	}
	if outcome != ratelimit.OutcomeDenied || e.Shadow {
		return
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(present(keyRule.String(e.Rule))...)
	}
}

type idempotencyInstruments struct {
	requests, lost counter
	wait           histogram
}

func (t *Telemetry) newIdempotencyInstruments() idempotencyInstruments {
	return idempotencyInstruments{
		requests: t.newCounter("seawall.idempotency.requests", "{request}", "Requests with an idempotency key.", keyKeyOutcome),
		lost:     t.newCounter("seawall.idempotency.lost_claims", "{run}", "Runs whose claim another process took over."),
		wait:     t.newHistogram("seawall.idempotency.wait", "Time until a request with a key ran or was answered.", keyKeyOutcome),
	}
}

// Idempotency reports a request with a key, or a call of idempotent.Do. It is for
// idempotent.Options.Observe.
func (t *Telemetry) Idempotency(ctx context.Context, e idempotent.Event) {
	outcome := string(e.Outcome)
	t.idempotency.requests.count(ctx, outcome)
	t.idempotency.wait.record(ctx, e.Waited, outcome)
	if e.Lost {
		t.idempotency.lost.count(ctx)
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(present(keyKeyOutcome.String(outcome))...)
	}
}
