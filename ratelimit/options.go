package ratelimit

import (
	"context"
	"log/slog"
	"net/http"
)

// Options configure a middleware ([New]). Nil and the zero value are the defaults.
type Options struct {
	// Shadow lets every request through and adds nothing to the responses. Observe
	// reports what would have been refused.
	Shadow bool

	// OnFailure is what happens to a request if the limiter fails. The default is FailLocal.
	OnFailure Fail

	// LegacyHeaders adds X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset
	// (in seconds from now). They describe the rule that denies the request, or else the
	// one that leaves the least.
	LegacyHeaders bool

	// RetryAfterMs adds Retry-After-Ms to denials: the wait in milliseconds, where
	// Retry-After has only whole seconds.
	RetryAfterMs bool

	// NoFields reports whether the response to a request goes without RateLimit fields
	// and legacy headers, for example on a login page, where they would show how many
	// guesses are left. A denial still has its Retry-After, but its problem details do
	// not name the rules. If nil, every response has the fields.
	NoFields func(*http.Request) bool

	// Deny answers a request that is over a limit. The RateLimit fields and Retry-After
	// are set before it is called. The rule is the one with the longest wait, and d is
	// its decision. If nil, the answer is 429 rate_limit_exceeded.
	Deny func(w http.ResponseWriter, r *http.Request, rule string, d Decision)

	// Observe is called with the outcome of every request. It must not block, since the
	// request waits for it. If nil, nothing is observed.
	Observe func(context.Context, Event)

	// Logger gets a record when the limiter begins to fail and when it works again, and
	// when a table without room begins to refuse new keys ([ErrFull]) and when that has
	// ended: after a minute without a refusal. Each kind has at most two records a
	// minute, and the last one has the number of requests. The first request without a
	// principal ([ByPrincipal]) is logged too. If nil, it is slog.Default() at the time
	// of the record.
	Logger *slog.Logger
}

// Fail is what the middleware does with a request if its Limiter returns an error. The
// caller is not at fault, so the error itself is never answered with 429. A limiter
// without room ([ErrFull]) has not failed: it is always answered with 503.
type Fail int

const (
	// FailLocal asks a [Memory] of this middleware instead. Every process then gives each
	// key the whole limit.
	FailLocal Fail = iota

	// FailOpen lets the request through, without RateLimit fields. Its outcome is
	// [OutcomeBypassed].
	FailOpen

	// FailClosed answers with 503 service_unavailable.
	FailClosed
)
