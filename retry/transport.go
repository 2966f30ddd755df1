package retry

import (
	"context"
	"log/slog"
	"net/http"

	"golang.org/x/time/rate"
)

// A Transport is an [http.RoundTripper] that retries failed requests. It puts an
// Idempotency-Key on every write and retries the write under that key. This is safe with
// servers that honor the header, such as those that use package idempotent. For other
// servers, set [Policy.Keys] to [KeysCallerOnly]: a write without a key is then sent
// once, and is retried only if no connection could be made.
//
// The zero value makes up to three attempts with exponential backoff and full jitter, obeys
// Retry-After, and has a [Budget] and a [Breaker], with a bucket and a circuit for every
// host. A Transport keeps state: create one and share it. It is safe for concurrent use. It
// must not be copied or changed after its first use.
//
// If the last attempt had a response, RoundTrip returns the response with a nil error,
// whatever its status. The response's Request is the request that was sent, with its key.
// Otherwise the error is an [*Error]. [WithReport] gives access to the earlier attempts.
//
// If an attempt is retried, its response is discarded. The Transport reads up to 64 KiB
// of it, for up to 50 milliseconds, so that the connection can be used again. The
// Transport does not read, delay or close the response that it returns, unless
// [Policy.Retryable] or [Policy.HoldHost] needs the error's code. So logs, events and
// reports have the code of an error only if the response was discarded, or read for one
// of these two.
type Transport struct {
	// Base sends each attempt. A RoundTripper that must see every attempt, for example to
	// sign it, belongs in Base. If nil, it is [http.DefaultTransport].
	Base http.RoundTripper

	// Policy decides which requests are retried, how often and when. If nil, it is the
	// default policy.
	Policy *Policy

	// Breaker stops attempts to hosts on which everything fails. If nil, the Transport
	// has its own, with the defaults. To turn it off, set &Breaker{FailureRatio: -1}.
	Breaker *Breaker

	// Group returns the name of the request's group. The requests of a group share a
	// circuit in the Breaker, a bucket in the Budget, and holds (see [Policy.HoldHost]).
	// If Group is nil or returns "", the group is the [Origin] of the URL. Use Group to
	// put the hosts of one service into one group, or to give each tenant of one host its
	// own. It is called once for each call, concurrently, and must not change the
	// request.
	Group func(*http.Request) string

	// Pace delays all attempts, including first ones, so that they stay within its rate.
	// If nil, nothing is delayed. If an attempt's turn would come after the context's
	// deadline, the call fails immediately, with an error that wraps
	// context.DeadlineExceeded.
	Pace *rate.Limiter

	// Observe is called for every [Event], synchronously and concurrently. If nil,
	// nothing is observed.
	Observe func(context.Context, Event)

	// Logger gets a line for every attempt that is retried, and for every call that
	// fails. Both have the attributes method, host, attempt, status, code, request_id,
	// retry_after and error, if known. A retried attempt also has delay, and a failed
	// call has reason. The level is Warn for a call that failed because of the server or the
	// network, and Info for any other line. If nil, it is [slog.Default].
	Logger *slog.Logger

	policy  Policy // the default one
	budget  Budget
	breaker Breaker
	holds   holds
}

// CloseIdleConnections calls Base's CloseIdleConnections method, if Base has one.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// RoundTrip sends the request, and retries it as the policy says. The request is not changed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.base().RoundTrip(req) // http.Transport returns an error and closes the body
	}
	c := newCall(t, req)
	defer c.end()
	return c.run()
}

// DefaultBudget returns the [Budget] of the calls whose policy has none.
func (t *Transport) DefaultBudget() *Budget { return &t.budget }
