package idempotent

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Options configure a middleware ([New]) or a [Guard]. Nil and the zero value are the
// defaults.
type Options struct {
	// Namespace separates the keys of this service or environment from others in the same
	// store. If empty, they are not separated.
	Namespace string

	// Secret makes record IDs and derived keys unpredictable to anyone who knows or guesses a
	// key (HMAC-SHA-256). Set it if keys are not random, such as "order-48213", and IDs are
	// logged. All processes that share a store need the same secret. A new secret makes every
	// key new. If empty, IDs and derived keys are plain hashes.
	Secret []byte

	// Keep reports whether a response with this status is recorded. After any other status a
	// retry runs again, unless [BeginEffect] was called. If nil, it is [DefaultKeep].
	Keep func(status int) bool

	// AtMostOnce reports whether [BeginEffect] is called before every run. Set it for writes
	// that must never run twice. It is not allowed with an [Executor].
	AtMostOnce bool

	// MaxResponse bounds the recorded response body, or the encoded value of a [Do], in
	// bytes. The default is 1 MiB; a negative value means no bound. A longer one is returned
	// to the first caller and not kept: a retry is answered 409
	// idempotency_response_unavailable. With an [Executor], a longer response of a handler is
	// rolled back and answered 500.
	MaxResponse int

	// MaxRun bounds the duration of a run. The default is 5 minutes; a negative value means
	// no bound. After it, the run's context ends with the cause [ErrMaxRun], and its lease is
	// no longer renewed. An earlier deadline of the caller's context applies too.
	MaxRun time.Duration

	// Lease is how long the key of a crashed process stays blocked. The default is 30
	// seconds. It must be at least a millisecond. During a run, the lease is renewed each
	// time that a third of it has passed. Lease has no effect with a [LocalStore], such as
	// [Memory].
	Lease time.Duration

	// Retention is how long a response is kept after it was recorded. The default is 24
	// hours.
	Retention time.Duration

	// Wait is how long a duplicate waits for the first request to finish, unless its
	// context's deadline or its http.Server's WriteTimeout comes earlier. The default is 10
	// seconds; if negative, duplicates do not wait.
	Wait time.Duration

	// MaxWaiters bounds the duplicates that wait in this process. One principal can have an
	// eighth of them, and one key a thirty-second, but each at least one. The bound for one
	// principal does not apply to [Global]. The default is 4,096; a negative value means no
	// bounds. A duplicate beyond a bound is answered 429 idempotency_in_progress immediately.
	// A duplicate that waits for a request in the same process holds neither its body nor a
	// response in memory.
	MaxWaiters int

	// StoreTimeout bounds each operation of the store, and also an operation together with
	// its retries. Only the recording of a response is retried longer, for up to three times
	// StoreTimeout. The default is 1 second. A value over a third of Lease counts as a third
	// of Lease.
	StoreTimeout time.Duration

	// OnFailure decides what happens to a call if the store fails before its run. The default
	// is FailClosed.
	OnFailure Fail

	// Observe is called after each call with a key. It must not block. It may be nil.
	Observe func(context.Context, Event)

	// Logger gets warnings: unknown outcomes, responses that could not be encoded or
	// recorded, lost leases, calls that run without protection, and the first request without
	// a principal. Other failures of the store are only in the error with which the call is
	// answered. If nil, slog.Default() is used.
	Logger *slog.Logger

	// The options below are about HTTP requests. NewGuard panics if one of them is set.

	// Required reports whether a key is required. If it is, a request without one is answered
	// 400 parameter_missing. To require a key on some routes only, wrap those routes in a
	// second middleware with the same store. The inner middleware passes on a request whose
	// key the outer one has taken. Of the inner one's options, only Required, Methods, Skip
	// and AtMostOnce then apply.
	Required bool

	// Methods are the methods that take a key. If nil, they are POST, PUT, PATCH and DELETE.
	// Safe methods and CONNECT are not allowed.
	Methods []string

	// Skip reports whether to serve a request as if it had no key and none were required. If
	// nil, no request is skipped.
	Skip func(*http.Request) bool

	// Authorize is called before a request gets any answer that depends on another request
	// with its key: a replay, or an error such as idempotency_conflict or
	// idempotency_in_progress. If Authorize returns an error, the request is answered with
	// that error (apierror.Write). Use it if principals can lose permissions. It may be nil.
	Authorize func(*http.Request) error

	// Fingerprint decides whether two requests are the same. If nil, it is [FingerprintBody].
	// If routes need different ones, use a function that chooses by r.URL.Path.
	Fingerprint FingerprintFunc

	// MaxBody bounds the request body that is held in memory, in bytes. The default is 1 MiB;
	// a negative value means no bound. A longer body is answered 413.
	MaxBody int64

	// OmitFields names header fields that are not recorded, such as a trace id, in addition
	// to those that never are. See docs/KEYED_HANDLERS.md.
	OmitFields []string
}

// A Fail is a way to handle a call if the store fails before the run. A full store is not a
// failure.
type Fail int

const (
	// FailClosed answers 503 service_unavailable. Nothing runs.
	FailClosed Fail = iota
	// FailOpen runs the call without protection, and reports [OutcomeBypassed]. Duplicates
	// that waited are still answered 503. FailOpen is not allowed with an [Executor] or
	// AtMostOnce.
	FailOpen
)

// DefaultKeep is the default of [Options].Keep. It reports true for every status below 500
// except 401, 403, 408, 425 and 429. Any other status means that nothing was done, or leaves
// open whether anything was done.
//
// It keeps a 400 too: a client that corrects its request needs a new key. To let a corrected
// request reuse the key, set Keep to a function that reports false for 400.
func DefaultKeep(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status < 500
}

// ID returns the ID of the record of a principal's key: a hash of Namespace, Secret,
// principal and key. Pass the key without the quotes that it may have in the header field. A
// nil o has no Namespace and no Secret. Services use the ID to find a record that they settle
// with a [Resolver].
func (o *Options) ID(principal, key string) ID {
	if o == nil {
		o = new(Options)
	}
	return hashOf(o.Secret, "id", o.Namespace, principal, key)
}

// scopeOf returns the hash of a principal for a claim. It is zero for GlobalPrincipal.
func (o *Options) scopeOf(principal string) ID {
	if principal == GlobalPrincipal {
		return ID{}
	}
	return hashOf(o.Secret, "scope", o.Namespace, principal)
}

// withDefaults returns a copy with the defaults filled in. It panics on a contradiction.
func (o *Options) withDefaults(s Store) Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.check(s)
	c.Secret = slices.Clone(c.Secret)
	if c.Keep == nil {
		c.Keep = DefaultKeep
	}
	if c.Observe == nil {
		c.Observe = func(context.Context, Event) {}
	}
	c.MaxResponse = cmp.Or(c.MaxResponse, 1<<20)
	c.MaxRun = max(cmp.Or(c.MaxRun, 5*time.Minute), 0)
	c.Lease = cmp.Or(c.Lease, 30*time.Second)
	c.Retention = cmp.Or(c.Retention, 24*time.Hour)
	c.Wait = max(cmp.Or(c.Wait, 10*time.Second), 0)
	c.MaxWaiters = max(cmp.Or(c.MaxWaiters, 4096), 0)
	c.StoreTimeout = min(cmp.Or(c.StoreTimeout, time.Second), c.Lease/3)
	return c
}

// check panics if options contradict each other or the store.
func (o *Options) check(s Store) {
	_, executor := s.(Executor)
	switch {
	case s == nil:
		panic("idempotent: a Store is required")
	case o.OnFailure != FailClosed && o.OnFailure != FailOpen:
		panic("idempotent: Options.OnFailure must be FailClosed or FailOpen")
	case o.AtMostOnce && executor:
		panic("idempotent: Options.AtMostOnce is not allowed with an Executor: effects belong in its transaction")
	case o.OnFailure == FailOpen && executor:
		panic("idempotent: FailOpen is not allowed with an Executor: the handler would run without its transaction")
	case o.OnFailure == FailOpen && o.AtMostOnce:
		panic("idempotent: FailOpen is not allowed with Options.AtMostOnce")
	case o.Lease < 0 || o.Retention < 0 || o.StoreTimeout < 0:
		panic("idempotent: Options.Lease, Retention and StoreTimeout must not be negative")
	case o.Lease > 0 && o.Lease < time.Millisecond:
		panic("idempotent: Options.Lease must be at least a millisecond")
	}
}

// withHTTPDefaults fills in the defaults of the options that are about HTTP requests.
func (o *Options) withHTTPDefaults() {
	if o.Methods = slices.Clone(o.Methods); o.Methods == nil {
		o.Methods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	}
	for _, m := range o.Methods {
		switch m {
		case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
			panic("idempotent: Options.Methods: " + m + " takes no key")
		}
		if m != strings.ToUpper(m) {
			panic("idempotent: Options.Methods: " + m + " must be in upper case") // RFC 9110, section 9.1
		}
	}
	if o.Fingerprint == nil {
		o.Fingerprint = FingerprintBody
	}
	o.MaxBody = cmp.Or(o.MaxBody, 1<<20)
	fields := make([]string, len(o.OmitFields))
	for i, name := range o.OmitFields {
		fields[i] = http.CanonicalHeaderKey(name)
	}
	o.OmitFields = fields
}

// httpOption returns the name of an option that is set and is about HTTP requests. It is
// empty if there is none.
func (o *Options) httpOption() string {
	switch {
	case o == nil:
		return ""
	case o.Required:
		return "Required"
	case o.Methods != nil:
		return "Methods"
	case o.Skip != nil:
		return "Skip"
	case o.Authorize != nil:
		return "Authorize"
	case o.Fingerprint != nil:
		return "Fingerprint"
	case o.MaxBody != 0:
		return "MaxBody"
	case o.OmitFields != nil:
		return "OmitFields"
	}
	return ""
}
