package seawall

import (
	"cmp"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// Stack is the whole chain in the order that works. What a field does not ask for is absent, but for the request id, the access log
// and the recovery of panics, which are always there. From the outside in:
//
//	request id      everything below names it
//	access log      sees the status that went out, whoever wrote it
//	recover         turns every panic below into an error
//	Timeout         the deadline holds for all that follows
//	MaxBody         nothing below can be made to read more
//	MaxInFlight     overload is refused before it costs anything
//	AddressLimit    before authentication: made-up keys are a flood of an address
//	Authenticate    finds the principal
//	RateLimit       per principal
//	Idempotency     after the two, so that their 401 and 429 are never kept as a key's answer
//	the handler
//
// A Stack must not be copied after the first call of its Handler.
type Stack struct {
	// Logger gets the access log, panics, and errors of ours; RateLimit and Idempotency have Loggers in options of their own. Nil is
	// slog.Default().
	Logger *slog.Logger

	// Renderer says how errors look. Nil is the default. Where its Logger is nil it logs to the Stack's.
	Renderer *apierror.Renderer

	// RequestID holds the options of the request ids. If nil, the defaults apply. Its Logger defaults to the Stack's.
	RequestID *RequestIDOptions

	// AccessLog holds the options of the access log. If nil, the defaults apply. Its Logger defaults to the Stack's,
	// and its Mux to the mux that Handler wraps.
	AccessLog *AccessLogOptions

	// Timeout is the deadline of a request: see the function of that name. 0 is none.
	Timeout time.Duration

	// NoTimeout exempts requests from Timeout, and from nothing else: streams, which end when they end. Nil exempts none.
	NoTimeout func(*http.Request) bool

	// MaxBody bounds a request's body, in bytes: see the function of that name. 0 is no bound. Whoever reads a whole body has a
	// bound of its own, 1 MiB if nothing else is said: apierror.DecodeJSON, and idempotent for requests with a key.
	MaxBody int64

	// MaxInFlight bounds the requests that run at the same time: see the function of that name. All handlers of the Stack
	// share the bound, which the first call of Handler fixes. 0 is no bound.
	MaxInFlight int

	// AddressLimit is for ratelimit.New with ByRemoteAddr, say. Give its rule a name: clients see both limits.
	AddressLimit Middleware

	// Authenticate is the service's own. It calls WithPrincipal.
	Authenticate Middleware

	// RateLimit is for ratelimit.New with ByPrincipal, say.
	RateLimit Middleware

	// Idempotency is for idempotent.New.
	Idempotency Middleware

	// Skip exempts requests, such as health checks, from the time-out, the bounds, the limits and idempotency; not from
	// authentication, which decides itself whom it lets through. Nil exempts none.
	// It sees the request as it came, its path not cleaned: a prefix of a path exempts "/healthz/../v1/resources" too.
	// Compare whole paths.
	Skip func(*http.Request) bool

	once     sync.Once
	inFlight Middleware // made once: some frameworks wrap once per request
}

// Handler wraps h, which may be anything from a single handler to another framework's router. Of a *http.ServeMux it turns the
// 404 and 405 into error objects, as [WrapMux] does; one that is wrapped already needs a WrapMux of its own inside the wrapping.
// It panics on a negative field; a later change of s changes nothing.
func (s *Stack) Handler(h http.Handler) http.Handler {
	if h == nil {
		panic("seawall: Stack.Handler of a nil http.Handler")
	}
	if s.Timeout < 0 || s.MaxBody < 0 || s.MaxInFlight < 0 {
		panic("seawall: Stack with a negative Timeout, MaxBody or MaxInFlight")
	}
	mux, isMux := h.(*http.ServeMux)
	if isMux {
		h = WrapMux(mux)
	}
	renderer := apierror.Renderer{}
	if s.Renderer != nil {
		renderer = *s.Renderer
	}
	if renderer.Logger == nil {
		renderer.Logger = s.Logger
	}
	requestID := RequestIDOptions{}
	if s.RequestID != nil {
		requestID = *s.RequestID
	}
	requestID.Logger = cmp.Or(requestID.Logger, s.Logger)
	accessLog := AccessLogOptions{}
	if s.AccessLog != nil {
		accessLog = *s.AccessLog
	}
	accessLog.Logger = cmp.Or(accessLog.Logger, s.Logger)
	accessLog.Mux = cmp.Or(accessLog.Mux, mux)
	return Chain(
		RequestID(&requestID),
		renderer.Handler,
		AccessLog(&accessLog),
		Recover(s.Logger),
	)(s.guarded(h))
}

// guarded is what stands between recovery and the handler.
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
	skip, full, exempt := s.Skip, Chain(guards...)(h), Chain(s.Authenticate)(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if skip(r) {
			exempt.ServeHTTP(w, r)
			return
		}
		full.ServeHTTP(w, r)
	})
}

// unless is m for the requests that are not exempt.
func unless(exempt func(*http.Request) bool, m Middleware) Middleware {
	if exempt == nil {
		return m
	}
	return func(next http.Handler) http.Handler {
		within := m(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if exempt(r) {
				next.ServeHTTP(w, r)
				return
			}
			within.ServeHTTP(w, r)
		})
	}
}
