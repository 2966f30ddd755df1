package idempotent

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Options configure a middleware ([New]) or a [Guard]. Nil and the zero value are the defaults.
type Options struct {
	// Namespace separates the keys of this service, or of this environment, from others in a store
	// that several share.
	Namespace string
	// Secret makes the IDs of records, and derived keys, unpredictable for those who know or
	// guess a key (HMAC-SHA-256). Set it if keys are not random, such as "order-48213", and IDs
	// are logged. All processes that share a store need the same one, and another secret makes
	// every key new. If empty, an ID is a plain hash.
	Secret []byte

	// Keep reports whether a status is a key's answer. After any other status a retry runs again,
	// unless its effect had begun ([BeginEffect]). If nil, it is [DefaultKeep].
	Keep func(status int) bool
	// AtMostOnce calls [BeginEffect] before every run, for writes that must never be repeated.
	AtMostOnce bool
	// MaxResponse bounds the response body, or the encoded value of a [Do], that is kept, in
	// bytes. 0 is 1 MiB. Negative is no bound. A longer one goes to the first caller whole, and
	// a retry is answered 409 idempotency_response_unavailable. An [Executor] holds responses
	// until the commit: one of a handler that is longer is rolled back there and answered with
	// 500.
	MaxResponse int
	// MaxRun bounds a run, so that every key is free again one day. 0 is 5 minutes. Negative is
	// no bound. When it is over the run's context ends with [ErrMaxRun] as its cause, and its
	// lease is no longer renewed. A shorter deadline of the caller's context counts too.
	MaxRun time.Duration

	// Lease is how long a crashed process holds up a key. 0 is 30 s. It is renewed every third
	// of it while the run lasts. It has no effect with a [LocalStore], such as [Memory].
	Lease time.Duration
	// Retention is how long an answer is kept, counted from when it is recorded. 0 is 24 h.
	Retention time.Duration
	// Wait is how long a duplicate waits for the first one to end. 0 is 10 s. Negative is not at
	// all. A duplicate never waits longer than its context's deadline and the WriteTimeout of
	// its http.Server allow.
	Wait time.Duration
	// MaxWaiters bounds the duplicates that wait within this process. One principal can have an
	// eighth of them, and one key a thirty-second, at least one each. The principal of [Global]
	// can have them all. The default is 4,096; a negative value means no bound. One more
	// duplicate is answered 429 idempotency_in_progress immediately.
	MaxWaiters int
	// StoreTimeout bounds a call of the store, and is at most a third of the lease. 0 is 1 s.
	// Before the run, a call and its repetitions take no longer together. Recording is tried
	// three times as long.
	StoreTimeout time.Duration
	// OnFailure says what happens if the store fails before the run. 0 is FailClosed.
	OnFailure Fail

	// Observe is told of every keyed call. It must not block. If nil, no one is told.
	Observe func(context.Context, Event)
	// Logger gets what needs attention: outcomes that are unknown, answers that could not be
	// recorded, lost leases, a failing store, and the first request without a principal. If nil,
	// it is slog.Default() at the time of the record.
	Logger *slog.Logger

	// The options below are about HTTP requests. NewGuard panics if one of them is set.

	// Required refuses requests without a key: 400 parameter_missing. To require a key for some
	// routes only, put a second middleware that has it set, with the same store, around those: a
	// request whose key the outer one has taken passes the inner one. Of the inner one's options
	// only Required, Methods, Skip and AtMostOnce have an effect then.
	Required bool
	// Methods are those that take a key. Nil is POST, PUT, PATCH and DELETE. A safe method is a
	// mistake: it needs no key.
	Methods []string
	// Skip exempts a request: its key is ignored, its body is not read. If nil, no request is
	// exempt.
	Skip func(*http.Request) bool
	// Authorize is asked before a request is told anything of an earlier one with its key: its
	// response, a conflict, that it runs, or that its outcome is unknown. The principal may have
	// lost a permission since then. Its error is answered by apierror.Write. If nil, all is
	// told: the scope has been checked already.
	Authorize func(*http.Request) error
	// Fingerprint tells one request from another. If nil, it is [FingerprintBody]. If routes need
	// different ones, it is a function that chooses by r.URL.Path.
	Fingerprint FingerprintFunc
	// MaxBody bounds the request body that is held in memory, in bytes. 0 is 1 MiB. Negative is no
	// bound. A longer one is answered 413.
	MaxBody int64
	// OmitFields names header fields of responses that are not recorded, such as a trace id's.
	// Fields that belong to one request or connection never are: see the package documentation.
	OmitFields []string
}

// Fail says what happens to a call if the store fails before its run. A store that is full has
// not failed.
type Fail int

const (
	// FailClosed answers 503 service_unavailable, and nothing runs.
	FailClosed Fail = iota
	// FailOpen runs without any protection, and its outcome is [OutcomeBypassed]. Duplicates
	// that wait for the same answer of the store, or that have seen that another one runs, are
	// still answered 503. It is not for an [Executor], nor together with AtMostOnce.
	FailOpen
)

// DefaultKeep is the default of [Options].Keep. It keeps all statuses but 5xx, 401, 403, 408,
// 425 and 429, which say that nothing was done, or that nobody knows.
func DefaultKeep(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status < 500
}

// ID returns the ID under which the record of a principal's key is kept: a hash of Namespace,
// Secret, principal and key. The key is as it stands between the quotes of its field. Services
// use the ID to find a record that they resolve ([Resolver]).
func (o *Options) ID(principal, key string) ID {
	if o == nil {
		o = new(Options)
	}
	return hashOf(o.Secret, "id", o.Namespace, principal, key)
}

// scopeOf is the hash of the principal in a claim. It is zero for the one that all callers share.
func (o *Options) scopeOf(principal string) ID {
	if principal == GlobalPrincipal {
		return ID{}
	}
	return hashOf(o.Secret, "scope", o.Namespace, principal)
}

// withDefaults returns a copy with the defaults filled in. It panics on a contradiction.
func (o *Options) withDefaults(s Store) Options {
	if s == nil {
		panic("idempotent: a Store is missing")
	}
	var c Options
	if o != nil {
		c = *o
	}
	switch c.OnFailure {
	case FailClosed, FailOpen:
	default:
		panic("idempotent: Options.OnFailure is neither FailClosed nor FailOpen")
	}
	if _, ok := s.(Executor); ok && c.AtMostOnce {
		panic("idempotent: Options.AtMostOnce is not for an Executor: effects belong into its transaction")
	}
	if _, ok := s.(Executor); ok && c.OnFailure == FailOpen {
		panic("idempotent: FailOpen is not for an Executor: the handler would run without its transaction")
	}
	if c.OnFailure == FailOpen && c.AtMostOnce {
		panic("idempotent: Options.AtMostOnce and FailOpen contradict each other")
	}
	if c.Lease < 0 || c.Retention < 0 || c.StoreTimeout < 0 {
		panic("idempotent: Options.Lease, Retention and StoreTimeout cannot be negative")
	}
	c.Secret = slices.Clone(c.Secret)
	if c.Keep == nil {
		c.Keep = DefaultKeep
	}
	if c.MaxResponse == 0 {
		c.MaxResponse = 1 << 20
	}
	setDefault(&c.MaxRun, 5*time.Minute)
	setDefault(&c.Lease, 30*time.Second)
	setDefault(&c.Retention, 24*time.Hour)
	setDefault(&c.Wait, 10*time.Second)
	setDefault(&c.MaxWaiters, 4096)
	setDefault(&c.StoreTimeout, time.Second)
	if c.Lease < time.Millisecond {
		panic("idempotent: Options.Lease is less than a millisecond")
	}
	c.StoreTimeout = min(c.StoreTimeout, c.Lease/3)
	return c
}

// withHTTPDefaults fills in the defaults of the options that are about requests.
func (o *Options) withHTTPDefaults() {
	if o.Methods = slices.Clone(o.Methods); o.Methods == nil {
		o.Methods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	}
	for _, m := range o.Methods {
		switch m {
		case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
			panic("idempotent: Options.Methods holds " + m + ", which takes no key")
		}
		if m != strings.ToUpper(m) {
			panic("idempotent: Options.Methods holds " + m + ": methods are case-sensitive, and upper case") // RFC 9110, section 9.1
		}
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	fields := make([]string, len(o.OmitFields))
	for i, name := range o.OmitFields {
		fields[i] = http.CanonicalHeaderKey(name)
	}
	o.OmitFields = fields
}

// ofRequests returns the name of an option that is set and is about requests. It is empty if there
// is none.
func (o *Options) ofRequests() string {
	if o == nil {
		return ""
	}
	for name, set := range map[string]bool{
		"Required": o.Required, "Methods": o.Methods != nil, "Skip": o.Skip != nil,
		"Authorize": o.Authorize != nil, "Fingerprint": o.Fingerprint != nil, "MaxBody": o.MaxBody != 0,
		"OmitFields": o.OmitFields != nil,
	} {
		if set {
			return name
		}
	}
	return ""
}

// setDefault replaces 0 by the default, and a negative value by 0.
func setDefault[T int | int64 | time.Duration](v *T, d T) {
	switch {
	case *v == 0:
		*v = d
	case *v < 0:
		*v = 0
	}
}
