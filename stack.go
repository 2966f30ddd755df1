package seawall

import (
	"cmp"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// Stack is a chain of all parts in the right order. The request id, the access log and the
// recovery from panics are always present. The other parts are present if their field is
// set. From the outside in:
//
//	request id      everything below can use it
//	access log      sees the status that is sent, even after a panic
//	Recover         answers the panics of everything below
//	Timeout         its deadline includes the wait for a limit
//	MaxBody         nothing below can read more
//	MaxInFlight     refuses overload before it costs anything
//	AddressLimit    before authentication, because invalid keys can flood from one address
//	Authenticate    finds the principal
//	RateLimit       limits each principal
//	Idempotency     below Authenticate and RateLimit, so that no 401 or 429 is stored for a key
//	the handler
//
// A Stack must not be copied after its Handler method has been called.
type Stack struct {
	// Logger receives the access log, and a record of each panic and of each error that is the
	// service's fault. If nil, slog.Default() is used. RateLimit and Idempotency have Loggers in
	// their own options.
	Logger *slog.Logger

	// Renderer sets how errors look. If nil, the defaults apply. Its Logger defaults to the
	// Stack's.
	Renderer *apierror.Renderer

	// RequestID holds the options of [RequestID]. If nil, the defaults apply. Its Logger defaults
	// to the Stack's.
	RequestID *RequestIDOptions

	// AccessLog holds the options of [AccessLog]. If nil, the defaults apply. Its Logger defaults
	// to the Stack's, and its Mux to the mux that Handler wraps.
	AccessLog *AccessLogOptions

	// Timeout is the time that a request may take: see [Timeout]. If zero, there is no deadline.
	Timeout time.Duration

	// NoTimeout reports whether a request, such as one for a stream, is exempt from
	// Timeout. If nil, no request is.
	NoTimeout func(*http.Request) bool

	// MaxBody is the largest request body in bytes: see [MaxBody]. If zero, there is no bound
	// here. DecodeJSON and package idempotent have their own bounds of 1 MiB, so a larger MaxBody
	// also needs apierror.DecodeOptions.MaxBody and idempotent.Options.MaxBody.
	MaxBody int64

	// MaxInFlight is how many requests may run at the same time: see [MaxInFlight]. If
	// zero, there is no bound. All handlers of a Stack share one bound, which the first
	// call of Handler sets.
	MaxInFlight int

	// AddressLimit limits addresses: for example ratelimit.New with ratelimit.ByRemoteAddr.
	// Its rule needs a name that differs from that of RateLimit's rule, because clients see
	// both. Load shedding (ratelimit.Shed) can be added before it with [Chain].
	AddressLimit Middleware

	// Authenticate is the service's own authentication, which calls [WithPrincipal].
	Authenticate Middleware

	// RateLimit limits principals: for example ratelimit.New with ratelimit.ByPrincipal. A limit
	// of concurrent requests (ratelimit.MaxConcurrent) can be added after it with [Chain].
	RateLimit Middleware

	// Idempotency makes writes safe to retry: idempotent.New.
	Idempotency Middleware

	// Skip reports whether a request, such as a health check, is exempt from Timeout,
	// MaxBody, MaxInFlight, AddressLimit, RateLimit and Idempotency. If nil, no request is.
	// Authenticate always runs, and decides itself whom it lets through.
	//
	// The path of the request is not cleaned yet. Compare whole paths: the prefix "/healthz/"
	// would also exempt "/healthz/../v1/resources".
	Skip func(*http.Request) bool

	once     sync.Once
	inFlight Middleware // made once, because some frameworks call Handler for every request
}

// Handler returns h inside the Stack. If h is an *http.ServeMux, it is wrapped with
// [WrapMux]; a mux that is already inside another handler needs its own WrapMux. Later
// changes to s have no effect. Handler panics if h is nil or a field is negative.
func (s *Stack) Handler(h http.Handler) http.Handler {
	if h == nil {
		panic("seawall: Stack.Handler was given a nil http.Handler")
	}
	if s.Timeout < 0 || s.MaxBody < 0 || s.MaxInFlight < 0 {
		panic("seawall: the Stack has a negative Timeout, MaxBody or MaxInFlight")
	}
	mux, isMux := h.(*http.ServeMux)
	if isMux {
		h = WrapMux(mux)
	}
	requestID := valueOf(s.RequestID)
	requestID.Logger = cmp.Or(requestID.Logger, s.Logger)
	renderer := valueOf(s.Renderer)
	renderer.Logger = cmp.Or(renderer.Logger, s.Logger)
	accessLog := valueOf(s.AccessLog)
	accessLog.Logger = cmp.Or(accessLog.Logger, s.Logger)
	accessLog.Mux = cmp.Or(accessLog.Mux, mux)
	return Chain(
		RequestID(&requestID),
		renderer.Handler,
		AccessLog(&accessLog),
		Recover(s.Logger),
	)(s.guarded(h))
}

// guarded returns h inside the parts below Recover.
func (s *Stack) guarded(h http.Handler) http.Handler {
	var guards []Middleware
	if s.Timeout > 0 {
		guards = append(guards, unless(s.NoTimeout, Timeout(s.Timeout)))
	}
	if s.MaxBody > 0 {
		guards = append(guards, MaxBody(s.MaxBody))
	}
	s.once.Do(func() {
		if s.MaxInFlight > 0 {
			s.inFlight = MaxInFlight(s.MaxInFlight)
		}
	})
	guards = append(guards, s.inFlight, s.AddressLimit, s.Authenticate, s.RateLimit, s.Idempotency)
	if s.Skip == nil {
		return Chain(guards...)(h)
	}
	return either(s.Skip, Chain(s.Authenticate)(h), Chain(guards...)(h))
}

// unless returns a middleware that applies m to the requests that are not exempt.
func unless(exempt func(*http.Request) bool, m Middleware) Middleware {
	if exempt == nil {
		return m
	}
	return func(next http.Handler) http.Handler { return either(exempt, next, m(next)) }
}

// either serves a request with yes if the condition holds, and otherwise with no.
func either(condition func(*http.Request) bool, yes, no http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if condition(r) {
			yes.ServeHTTP(w, r)
		} else {
			no.ServeHTTP(w, r)
		}
	})
}

// valueOf returns what p points to, or the zero value if p is nil.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
