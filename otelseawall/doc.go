// Package otelseawall reports to OpenTelemetry what Seawall does: which requests the limits deny,
// which writes are replayed, how often calls are retried, and which circuits are open.
//
// Make one Telemetry, and give its methods to the fields that Seawall's packages have for them:
//
//	telemetry := otelseawall.New(nil) // with the global providers
//	stack := &seawall.Stack{
//		AccessLog: &seawall.AccessLogOptions{Observe: telemetry.Request},
//		RateLimit: ratelimit.New(limiter, &ratelimit.Options{Observe: telemetry.RateLimit}, rule),
//		Idempotency: idempotent.New(store, idempotent.ByPrincipal,
//			&idempotent.Options{Observe: telemetry.Idempotency}),
//	}
//	handler := otelhttp.NewHandler(stack.Handler(mux), "api")
//	client := &http.Client{Transport: telemetry.Transport(&retry.Transport{})}
//
// otelhttp begins the span of a request and measures its duration, so it belongs around the Stack.
// This package adds to that span and begins none for a request.
//
// # Metrics of a server
//
//	seawall.server.errors            requests that were answered with an error
//	seawall.server.replays           requests that were answered with a replay
//	seawall.ratelimit.requests       requests that a rule applied to
//	seawall.ratelimit.failures       requests for which a limiter failed
//	seawall.ratelimit.keys           keys that a ratelimit.Memory holds
//	seawall.ratelimit.evictions      keys that it has forgotten because it was full
//	seawall.ratelimit.refusals       requests that it has refused because it was full
//	seawall.idempotency.requests     requests with a key
//	seawall.idempotency.wait         seconds until one ran or was answered
//	seawall.idempotency.lost_claims  runs whose claim another process took over
//	seawall.idempotency.records      records that an idempotent.Memory holds
//	seawall.idempotency.size         bytes of their responses
//	seawall.idempotency.evictions    records that it has forgotten because it was full
//	seawall.idempotency.drops        responses that it has dropped to make room
//
// The metrics of a ratelimit.Memory and an idempotent.Memory need [Telemetry.Limiter] and
// [Telemetry.Store]. Their attributes are:
//
//	seawall.error.code           of errors
//	seawall.error.type           of errors
//	http.response.status_code    of errors
//	http.route                   of errors and replays
//	seawall.ratelimit.rule       of requests that a rule applied to, and of failures
//	seawall.ratelimit.outcome    of such requests
//	seawall.ratelimit.shadow     true if such a request went on only because of shadow mode
//	seawall.idempotency.outcome  of requests with a key, and of their wait
//	seawall.name                 the name of a ratelimit.Memory or an idempotent.Memory
//
// # Metrics of a client
//
//	seawall.retry.calls            calls
//	seawall.retry.attempts         attempts
//	seawall.retry.retries          attempts after the first
//	seawall.retry.delay            seconds between an attempt and the next
//	seawall.retry.held             seconds that Pace and HoldHost held an attempt
//	seawall.retry.budget.tokens    retries that the budget still allows
//	seawall.retry.circuits         circuits in a state: for each group, 1 for its state, and 0 for
//	                               the others
//	seawall.retry.circuit.changes  changes of a circuit
//
// Their attributes are:
//
//	seawall.retry.group          of all: the group of retry.Transport, by default the scheme, host
//	                             and port of the URL
//	http.request.method          of calls and attempts
//	seawall.retry.reason         of calls: why they ended
//	error.type                   of attempts that failed: the status, canceled, timeout, the text
//	                             of the operating system, or the type of the error
//	seawall.retry.delay_source   of delays: backoff or retry_after
//	seawall.retry.circuit.state  of circuits, and of their changes: the new state
//
// If two Transports do not share a Breaker, a group has two circuits.
//
// # Bounds
//
// No attribute of a metric has more than Options.MaxValues values: further ones become _OTHER. A
// method that HTTP does not define is _OTHER too. No attribute of a metric holds a key, a
// principal, a path, a request id or a body, unless the name of a rule, a group or a route does.
// All strings are cut at 500 bytes, URLs at 4 KiB. Invalid UTF-8 becomes U+FFFD.
//
// # Spans
//
// The span of a request gets these attributes, where they apply:
//
//	seawall.request.id           the id that the client received
//	seawall.original_request.id  for a replay, the id of the request that ran
//	seawall.error.code           the code of the error that was sent
//	seawall.error.type           its type
//	seawall.error.late_code      the code of an error that came too late to be sent
//	seawall.ratelimit.rule       the rule that denied the request; the last one, if several did
//	seawall.idempotency.outcome  the outcome of a request with a key
//
// [Telemetry.Transport] makes a span for each call, and below it one for each attempt. Both have
// http.request.method, server.address, server.port and url.full when they begin, and error.type if
// they failed. A url.full has no userinfo, query or fragment, because they can hold secrets. These
// names are those of the semantic conventions for HTTP clients, version 1.43.0.
//
// The span of an attempt also has
//
//	http.response.status_code    the status
//	http.request.resend_count    1 for the second attempt, and so on
//	seawall.request.id           the id of the response
//	seawall.error.code           the code of the error, if it is known
//	seawall.retry.delay          seconds until the next attempt
//	seawall.retry.delay_source   backoff or retry_after
//	seawall.retry.held           seconds that Pace and HoldHost held the attempt
//
// The span of a call has seawall.retry.attempts, their number, and seawall.retry.reason, why it
// ended. The spans end with the header of the response.
package otelseawall
