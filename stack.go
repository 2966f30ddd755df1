package seawall

import (
	"log/slog"
	"net/http"
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
type Stack struct {
	// Logger gets the access log, panics, and errors of ours. Nil is slog.Default().
	Logger *slog.Logger

	// Renderer says how errors look. Nil is the default. Where its Logger is nil it logs to the Stack's.
	Renderer *apierror.Renderer

	// InboundID tells from whom a request id is taken: see RequestIDOptions.Inbound. Nil is nobody.
	InboundID func(*http.Request) bool

	// LogAttrs adds to the lines of the access log: see AccessLogOptions.Attrs.
	LogAttrs func(*http.Request) []slog.Attr

	Timeout      time.Duration // see Timeout; 0 is none
	MaxBody      int64         // bytes, see MaxBody; 0 is no bound
	MaxInFlight  int           // requests, see MaxInFlight; 0 is no bound
	AddressLimit Middleware    // such as ratelimit.New with ByRemoteAddr
	Authenticate Middleware    // the service's own; it calls WithPrincipal
	RateLimit    Middleware    // such as ratelimit.New with ByPrincipal
	Idempotency  Middleware    // such as idempotent.New

	// Skip exempts requests, such as health checks and streams, from the time-out, the bounds, the limits and idempotency; not
	// from authentication. Nil exempts none.
	Skip func(*http.Request) bool
}

// Handler wraps h, which may be anything from a single handler to another framework's router. Of a *http.ServeMux it turns the
// 404 and 405 into error objects, as [NotFound] does. It panics on a negative field; a later change of s changes nothing.
func (s *Stack) Handler(h http.Handler) http.Handler {
	if h == nil {
		panic("seawall: Stack.Handler of a nil http.Handler")
	}
	if s.Timeout < 0 || s.MaxBody < 0 || s.MaxInFlight < 0 {
		panic("seawall: Stack with a negative Timeout, MaxBody or MaxInFlight")
	}
	if mux, ok := h.(*http.ServeMux); ok {
		h = NotFound(mux)
	}
	renderer := apierror.Renderer{}
	if s.Renderer != nil {
		renderer = *s.Renderer
	}
	if renderer.Logger == nil {
		renderer.Logger = s.Logger
	}
	return Chain(
		RequestID(&RequestIDOptions{Inbound: s.InboundID, Logger: s.Logger}),
		renderer.Handler,
		AccessLog(&AccessLogOptions{Logger: s.Logger, Attrs: s.LogAttrs}),
		Recover(s.Logger),
	)(s.guarded(h))
}

// guarded is what stands between recovery and the handler.
func (s *Stack) guarded(h http.Handler) http.Handler {
	var guards []Middleware
	if s.Timeout > 0 {
		guards = append(guards, Timeout(s.Timeout))
	}
	if s.MaxBody > 0 {
		guards = append(guards, MaxBody(s.MaxBody))
	}
	if s.MaxInFlight > 0 {
		guards = append(guards, MaxInFlight(s.MaxInFlight))
	}
	full := Chain(append(guards, s.AddressLimit, s.Authenticate, s.RateLimit, s.Idempotency)...)(h)
	if s.Skip == nil {
		return full
	}
	skip, exempt := s.Skip, Chain(s.Authenticate)(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if skip(r) {
			exempt.ServeHTTP(w, r)
			return
		}
		full.ServeHTTP(w, r)
	})
}
