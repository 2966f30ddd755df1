package retry

import (
	"context"
	"log/slog"
	"net/http"

	"golang.org/x/time/rate"
)

// A Transport is an [http.RoundTripper] that puts an Idempotency-Key on every write and retries it when it
// fails. That is safe with servers of this specification, and with any other that honors the header. For
// others set [Policy.Keys] to [KeysCallerOnly]: a write that has no key is then sent once.
//
// The zero value works: up to three attempts with exponential backoff and full jitter, Retry-After
// obeyed, a [Budget] and a [Breaker] for every host. A Transport keeps state, so make one and share it
// among any number of goroutines. It must not be copied or changed after its first use.
//
// When attempts run out on a status, the last response comes back as the server sends it, with a nil
// error. Its Request is the one that was sent, with its key. When attempts run out on an error of the
// base transport, or when there was no attempt at all, the error is an [*Error]. [WithReport] tells the
// rest.
//
// A response that was returned is the caller's: nothing of the Transport reads it, waits for it or closes
// it. What logs, events and reports know of an error's code is from responses that were thrown away, and
// from those that [Policy.Retryable] or [Policy.HoldHost] made the Transport read.
//
// What must be done for every attempt, such as signing, belongs into Base.
type Transport struct {
	// Base sends one attempt. Nil is [http.DefaultTransport].
	Base http.RoundTripper

	// Policy says what is repeated and when. Nil is the default policy.
	Policy *Policy

	// Breaker stops attempts to hosts that only fail. Nil is a default one of this Transport's own; to have none, set
	// &Breaker{FailureRatio: -1}.
	Breaker *Breaker

	// Group names what a request's circuit in the Breaker, its bucket in the Budget and its holds
	// (see [Policy.HoldHost]) are kept by. If nil, or if the result is empty, that is the [Origin]
	// of its URL. Requests with the same name share them: give one name to the many hosts of one
	// service, or several names to what one host keeps apart, such as the webhooks of its tenants.
	// Group is called at most once for a call, by several goroutines, and must not change the
	// request.
	Group func(*http.Request) string

	// Pace delays attempts, first ones too, so that there are no more than it allows. Nil: no delay. An attempt whose turn
	// would come after the context's deadline fails at once, with an error that is context.DeadlineExceeded.
	Pace *rate.Limiter

	// Observe is told of attempts, calls and circuits, synchronously and by several goroutines. Nil: nobody is.
	Observe func(context.Context, Event)

	// Logger gets a line for every attempt that failed: method, host, attempt, status, code, request_id, error, and either
	// delay and source, or the reason why the call ended. Nil is [slog.Default].
	Logger *slog.Logger

	policy  Policy // the default one
	budget  Budget
	breaker Breaker
	holds   holds
}

// CloseIdleConnections closes those of Base, if that can.
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

// RoundTrip sends the request, and again as the policy says.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.base().RoundTrip(req) // it says what is wrong, and closes the body
	}
	var c call
	c.begin(t, req)
	defer c.end()
	return c.run()
}
