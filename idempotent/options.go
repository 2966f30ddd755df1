package idempotent

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Options configure the middleware. Nil and the zero value are the defaults.
type Options struct {
	// Namespace sets the keys of this service, or of this environment, apart in a store that several share.
	Namespace string
	// Required refuses requests without a key: 400 parameter_missing. For some routes only, put a second middleware that has it set, with
	// the same store, around those: a request whose key the outer one has taken passes the inner one.
	Required bool
	// Methods are those that take a key. Nil is POST, PUT, PATCH and DELETE. A safe method is a mistake: it needs no key.
	Methods []string
	// Skip exempts a request: its key is ignored, its body is not read. Nil exempts none.
	Skip func(*http.Request) bool
	// Reject refuses a key, with 400, for routes that cannot honour one (a stream, a websocket), rather than let the
	// client believe that it is safe. Nil refuses none.
	Reject func(*http.Request) bool
	// Authorize is asked before a stored response, or what is known of it, is told: the principal may have lost a
	// permission since the first request. Its error is answered by apierror.Write. Nil allows: the scope has been checked
	// already.
	Authorize func(*http.Request) error

	// Fingerprint tells one request from another. Nil is [FingerprintBody].
	Fingerprint FingerprintFunc
	// MaxBody bounds the request body that is held in memory, in bytes. 0 is 1 MiB; negative is no bound. Over it: 413.
	MaxBody int64
	// MaxResponse bounds the response body that is kept, in bytes. 0 is 1 MiB; negative is no bound. A longer one goes to
	// the client whole, and a retry is answered 409 idempotency_response_unavailable.
	MaxResponse int
	// Keep tells which statuses are a key's answer. After any other a retry runs again, unless the handler called
	// [BeginEffect]. Nil is [KeepDefault].
	Keep func(status int) bool
	// AtMostOnce calls [BeginEffect] for every request before the handler, for routes whose effects must never be repeated.
	AtMostOnce bool
	// CancelOnDisconnect leaves the request's own cancellation in the handler's context. By default a handler with a key is
	// not interrupted when its client goes away, so that the client's retry finds the answer; the deadline that the chain
	// has set stays.
	CancelOnDisconnect bool

	// Lease is how long a crashed process holds up a key, 30 s by default. It is renewed every third of it while the
	// handler runs. With a [Memory], whose claims end with their process, it does nothing.
	Lease time.Duration
	// Retention is how long an answer is kept, 24 h by default, counted from its recording.
	Retention time.Duration
	// Wait is how long a duplicate waits for the first to end, 10 s by default; negative is not at all.
	Wait time.Duration
	// MaxWaiters bounds the duplicates that wait within this process, WaitersPerKey those of one key. 0 is 4,096 and 128;
	// negative is no bound. The next one is answered 429 idempotency_in_progress at once.
	MaxWaiters    int
	WaitersPerKey int
	// StoreTimeout bounds a call of the store, 1 s by default, and never more than a third of the lease. Before the
	// handler, a call and its repetitions take no longer together; the recording after it is tried three times as long.
	StoreTimeout time.Duration
	// FailOpen runs the handler without any protection when the store fails, rather than answer 503. A store that is full
	// has not failed, and duplicates that wait for the same answer of the store, or have seen that another one runs, still
	// get 503.
	FailOpen bool

	// Observe is told of every request with a key. It must not block. Nil tells nobody.
	Observe func(context.Context, Event)
	// Logger gets what needs attention: outcomes that are unknown, answers that could not be recorded, lost leases, a failing
	// store, and the first request that has no principal. Nil is slog.Default().
	Logger *slog.Logger
}

// KeepDefault is the default of [Options].Keep: all but 5xx, 401, 403, 408, 425 and 429, which say that nothing was done, or
// that nobody knows.
func KeepDefault(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status < 500
}

// withDefaults returns a copy with the defaults filled in. It panics on a contradiction.
func (o *Options) withDefaults(s Store, scope ScopeFunc) Options {
	if s == nil {
		panic("idempotent: New needs a Store")
	}
	if scope == nil {
		panic("idempotent: New needs a ScopeFunc: ByPrincipal, or Global where all callers may share their keys")
	}
	var c Options
	if o != nil {
		c = *o
	}
	if _, ok := s.(Executor); ok && c.AtMostOnce {
		panic("idempotent: AtMostOnce is not for an Executor: effects belong into its transaction")
	}
	if c.FailOpen && c.AtMostOnce {
		panic("idempotent: AtMostOnce and FailOpen contradict each other")
	}
	if c.Methods = slices.Clone(c.Methods); c.Methods == nil {
		c.Methods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	}
	for _, m := range c.Methods {
		switch m {
		case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
			panic("idempotent: Options.Methods holds " + m + ", which takes no key")
		}
		if m != strings.ToUpper(m) {
			panic("idempotent: Options.Methods holds " + m + ": methods are case-sensitive, and upper case") // RFC 9110, section 9.1
		}
	}
	if c.Lease < 0 || c.Retention < 0 || c.StoreTimeout < 0 {
		panic("idempotent: Options.Lease, Retention and StoreTimeout cannot be negative")
	}
	if c.Keep == nil {
		c.Keep = KeepDefault
	}
	if c.MaxBody == 0 {
		c.MaxBody = 1 << 20
	}
	if c.MaxResponse == 0 {
		c.MaxResponse = 1 << 20
	}
	setDefault(&c.Lease, 30*time.Second)
	setDefault(&c.Retention, 24*time.Hour)
	setDefault(&c.Wait, 10*time.Second)
	setDefault(&c.MaxWaiters, 4096)
	setDefault(&c.WaitersPerKey, 128)
	setDefault(&c.StoreTimeout, time.Second)
	c.StoreTimeout = min(c.StoreTimeout, c.Lease/3)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
