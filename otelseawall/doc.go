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
//	seawall.server.errors            requests that were answered with an error, by code, type,
//	                                 status and route
//	seawall.server.replays           requests that were answered with a replay, by route
//	seawall.ratelimit.requests       requests that a rule applied to, by rule, outcome and shadow
//	seawall.ratelimit.keys           keys that a ratelimit.Memory holds
//	seawall.ratelimit.evictions      keys that it has forgotten because it was full
//	seawall.ratelimit.refusals       requests that it has refused because it was full
//	seawall.idempotency.requests     requests with a key, by outcome
//	seawall.idempotency.wait         seconds until one ran or was answered, by outcome
//	seawall.idempotency.lost_claims  runs whose claim another process took over
//	seawall.idempotency.records      records that an idempotent.Memory holds
//	seawall.idempotency.bytes        bytes of their responses
//	seawall.idempotency.evictions    records that it has forgotten because it was full
//	seawall.idempotency.drops        responses that it has dropped to make room
//
// The metrics of a ratelimit.Memory and an idempotent.Memory need [Telemetry.Limiter] and
// [Telemetry.Store].
//
// # Metrics of a client
//
//	seawall.retry.calls              calls, by group, method and reason: why they ended
//	seawall.retry.attempts           attempts, by group, method and error.type
//	seawall.retry.retries            attempts after the first, by group
//	seawall.retry.delay              seconds between an attempt and the next, by group and source
//	seawall.retry.held               seconds that Pace and HoldHost held an attempt, by group
//	seawall.retry.budget.tokens      retries that the budget still allows, by group
//	seawall.retry.circuit.state      1 for the state of a circuit, 0 for the others, by group
//	seawall.retry.circuit.changes    changes of a circuit, by group and the new state
//
// The group of a request is that of retry.Transport, by default the scheme, host and port of its
// URL. The source of a delay is backoff or retry_after.
//
// # Bounds
//
// No attribute of a metric has more than Options.MaxValues values: further ones become _OTHER. A
// method that HTTP does not define is _OTHER too. No attribute holds a key, a principal, a path, a
// request id or a body.
//
// # Spans
//
// The span of a request gets these attributes, where they apply:
//
//	seawall.request.id                   the id that the client received
//	seawall.error.code                   the code of the error that was sent
//	seawall.error.type                   its type
//	seawall.error.late_code              the code of an error that came too late to be sent
//	seawall.ratelimit.rule               the rules that denied the request
//	seawall.idempotency.outcome          the outcome of a request with a key
//
// A replay has a link whose seawall.request.id is that of the request that ran.
//
// [Telemetry.Transport] makes a span for each call, and below it one for each attempt. The span of
// an attempt has the attributes of the semantic conventions for HTTP clients (version 1.43.0), with
// http.request.resend_count from the second attempt on. It also has
//
//	seawall.request.id                   the id of the response
//	seawall.error.code                   the code of the error response, if it is known
//	seawall.retry.delay                  seconds until the next attempt
//	seawall.retry.delay.source           backoff or retry_after
//	seawall.retry.held                   seconds that Pace and HoldHost held the attempt
//
// The span of a call has seawall.retry.attempts, their number, and seawall.retry.reason, why it
// ended. The spans end with the header of the response. url.full has no userinfo, query or
// fragment, because they can hold secrets.
package otelseawall
