package retry

import (
	"context"
	"log/slog"
	"net/http"

	"golang.org/x/time/rate"
)

// A Transport is an [http.RoundTripper] that retries failed requests. It puts an
// Idempotency-Key on every write and retries the write under that key. This is safe with
// servers that honor the header, such as those of this specification. For other servers,
// set [Policy.Keys] to [KeysCallerOnly]: a write without a key is then sent once.
//
// The zero value makes up to three attempts with exponential backoff and full jitter,
// obeys Retry-After, and has a [Budget] and a [Breaker] for every host. A Transport keeps
// state: create one and share it. It is safe for concurrent use. It must not be copied or
// changed after its first use.
//
// If the last attempt had a response, RoundTrip returns that with a nil error, whatever
// its status. Its Request is the request that was sent, with its key. Otherwise the error
// is an [*Error]. See [WithReport] for what happened before.
//
// A response that is retried is discarded: up to 64 KiB of it are read for up to 50
// milliseconds, so that its connection can be used again. The Transport does not read,
// delay or close a response that it returns. So logs, events and reports have the code of
// an error only if its response was discarded, or read for [Policy.Retryable] or
// [Policy.HoldHost].
type Transport struct {
	// Base sends one attempt. What every attempt needs, such as a signature, belongs in
	// Base. If nil, it is [http.DefaultTransport].
	Base http.RoundTripper

	// Policy is what is retried and when. If nil, it is the default policy.
	Policy *Policy

	// Breaker stops attempts to hosts on which everything fails. If nil, the Transport has
	// its own, with the defaults. For none, set &Breaker{FailureRatio: -1}.
	Breaker *Breaker

	// Group returns the name of the group whose circuit in the Breaker, bucket in the
	// Budget and holds (see [Policy.HoldHost]) the request shares. If Group is nil or
	// returns "", the group is the [Origin] of the URL. Use it to give the many hosts of
	// one service one group, or the tenants of one host their own. It is called once for
	// each call, by several goroutines, and must not change the request.
	Group func(*http.Request) string

	// Pace delays attempts, first ones too, to the rate that it allows. If nil, nothing is
	// delayed. An attempt whose turn would come after the context's deadline fails immediately,
	// with an error that is context.DeadlineExceeded.
	Pace *rate.Limiter

	// Observe, if not nil, is called for every [Event], synchronously and by several
	// goroutines.
	Observe func(context.Context, Event)

	// Logger gets a line for every attempt that is retried and every call that fails, with the
	// attributes method, host, attempt, status, code, request_id, retry_after, delay or reason,
	// and error. If nil, it is [slog.Default].
	Logger *slog.Logger

	policy  Policy // the default one
	budget  Budget
	breaker Breaker
	holds   holds
}

// CloseIdleConnections calls the method of the same name of Base, if there is one.
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
		return t.base().RoundTrip(req) // which returns net/http's error and closes the body
	}
	c := newCall(t, req)
	defer c.end()
	return c.run()
}
