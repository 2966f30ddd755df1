package ratelimit

import (
	"context"
	"log/slog"
	"net/http"
)

// Options configure a middleware ([New]). Nil and the zero value are the defaults.
type Options struct {
	// Shadow lets every request through and adds nothing to the responses. Observe
	// reports which requests would have been refused.
	Shadow bool

	// OnFailure decides how a request is handled if the limiter fails. The default is
	// FailLocal.
	OnFailure Fail

	// Processes is the number of processes that share the limiter. While it fails,
	// FailLocal then allows each key 1/Processes of its limit in this process, but at
	// least one charge at a time. If zero, it is 1: every process allows the whole limit.
	Processes int

	// LegacyHeaders adds X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset
	// (in seconds from now). They describe the rule that denies the request, or else the
	// rule that leaves the fewest units.
	LegacyHeaders bool

	// RetryAfterMs adds Retry-After-Ms to denials. It is the wait in milliseconds, while
	// Retry-After is in whole seconds.
	RetryAfterMs bool

	// NoFields reports whether the response to a request must not have the RateLimit
	// fields and the legacy headers. Use it for example on a login page, where they would
	// show how many guesses are left. A denial still has its Retry-After, but its problem
	// details do not name the rules. If nil, every response has the fields.
	NoFields func(*http.Request) bool

	// Deny answers a request that is over a limit. The RateLimit fields and Retry-After
	// are set before it is called. rule is the name of the rule with the longest wait,
	// and d is its decision. If nil, the answer is 429 rate_limit_exceeded.
	Deny func(w http.ResponseWriter, r *http.Request, rule string, d Decision)

	// Observe is called with the outcome of every request. It must not block, since the
	// request waits for it. If nil, nothing is observed.
	Observe func(context.Context, Event)

	// Logger gets a record when the limiter begins to fail, and when it works again. It
	// also gets a record when the limiter has no room and begins to refuse new keys
	// ([ErrFull]), and when a minute has passed without such a refusal. Each of the two
	// kinds has at most two records a minute. The record of the end has the number of
	// requests that failed. The first request without a principal ([ByPrincipal]) is
	// logged too. If nil, it is slog.Default() at the time of the record.
	Logger *slog.Logger
}

// Fail says how the middleware handles a request if its [Limiter] or its [Slots] returns
// an error. The caller is not at fault, so the answer is never 429 because of the error.
// [ErrFull] does not count as a failure of the limiter: it is always answered with 503.
type Fail int

const (
	// FailLocal asks a [Memory] that the middleware has for this purpose, or lets
	// [MaxConcurrent] count the requests of this process. Every process then allows each
	// key the whole limit, or a share of it: see Processes in the options.
	FailLocal Fail = iota

	// FailOpen lets the request through, without RateLimit fields. Its outcome is
	// [OutcomeBypassed].
	FailOpen

	// FailClosed answers with 503 service_unavailable.
	FailClosed
)

// check panics if f is not one of the constants. option is the option that f comes from.
func (f Fail) check(option string) {
	if f < FailLocal || f > FailClosed {
		panic("ratelimit: " + option + " is not FailLocal, FailOpen or FailClosed")
	}
}
