// Package reqstate holds what Seawall's packages know about one request and share through its
// context.
//
// There are two kinds of state. The principal and the renderer belong to a context and do
// not change. The request id, the route's pattern and the error that was sent belong to the
// request: outer layers learn them when the handler has returned.
package reqstate

import (
	"cmp"
	"context"
	"net/http"
	"reflect"

	"github.com/seawall-go/seawall/internal/track"
)

// State is what one context of a request knows. All getters may be called on a nil *State.
type State struct {
	principal string
	request   *request
	renderer  any // an *apierror.Renderer, set once, under request.mu
}

// stateContext is a context and its State in one allocation.
type stateContext struct {
	context.Context
	state State
}

type stateKey struct{}

func (c *stateContext) Value(key any) any {
	if _, ok := key.(stateKey); ok {
		return &c.state
	}
	return c.Context.Value(key)
}

// From returns the State of ctx, or nil if there is none.
func From(ctx context.Context) *State {
	s, _ := ctx.Value(stateKey{}).(*State)
	return s
}

// Of returns the State of r's context. If a middleware has replaced the context with one
// without a State, Of returns the State that was current where w's tracker was made,
// without the principal.
func Of(w http.ResponseWriter, r *http.Request) *State {
	if s := From(r.Context()); s != nil {
		return s
	}
	return trackedBy(w)
}

// trackedBy returns the State that w's tracker was made for, without the principal. It is nil if
// there is none.
func trackedBy(w http.ResponseWriter) *State {
	s, _ := track.OwnerOf(w).(*State)
	if s == nil || s.principal == "" {
		return s
	}
	return &State{renderer: s.Renderer(), request: s.request}
}

// Ensure returns r and the State of its context. If there is none, it returns a copy of r whose
// context has a new one.
func Ensure(r *http.Request) (*http.Request, *State) {
	if s := From(r.Context()); s != nil {
		return r, s
	}
	c := newContext(r, nil)
	return r.WithContext(c), &c.state
}

// newContext returns a context for a request that has no State.
func newContext(r *http.Request, renderer any) *stateContext {
	q := &request{header: r.Header}
	q.first = stateContext{r.Context(), State{request: q, renderer: renderer}}
	return &q.first
}

// Enter returns the State of a request that comes to a middleware, and the tracked writer and the
// request to pass on. That request is r itself if its context already has the State. Otherwise it
// is a copy, which must be served with [Serve].
//
// A sub-request, which a handler serves with another writer and a context that derives from
// that of its request, gets its own State. It inherits the id, the principal and the
// renderer.
func Enter(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, *State) {
	return enter(w, r, nil)
}

// WithRenderer is [Enter] for a request whose errors the given renderer writes.
func WithRenderer(w http.ResponseWriter, r *http.Request, renderer any) (http.ResponseWriter, *http.Request) {
	w, r, _ = enter(w, r, renderer)
	return w, r
}

func enter(w http.ResponseWriter, r *http.Request, renderer any) (http.ResponseWriter, *http.Request, *State) {
	c, isNew := contextFor(w, r, renderer)
	if c == nil {
		s := From(r.Context())
		return s.request.tracked(w, r, s), r, s
	}
	copied := r.WithContext(c)
	if isNew {
		copied.Body = c.state.request.watch(r)
	}
	return c.state.request.tracked(w, r, &c.state), copied, &c.state
}

// contextFor returns the context to pass r on with. It is nil if r's own has the State and the
// renderer. isNew reports whether it is the first context of its request.
func contextFor(w http.ResponseWriter, r *http.Request, renderer any) (c *stateContext, isNew bool) {
	own := From(r.Context())
	known := own
	if own == nil {
		known = trackedBy(w) // another middleware may have replaced the context
	}
	if renderer == nil {
		renderer = known.Renderer()
	}
	switch {
	case known == nil:
		return newContext(r, renderer), true
	case !known.request.owns(w, r): // a sub-request
		c = newContext(r, renderer)
		c.state.principal = known.principal
		c.state.request.outer, c.state.request.id = known.request, known.RequestID()
		return c, true
	case own == nil:
		return &stateContext{r.Context(), State{renderer: renderer, request: known.request}}, false
	case own.adopt(renderer):
		return nil, false
	default:
		inner := State{principal: own.principal, renderer: renderer, request: own.request}
		return &stateContext{r.Context(), inner}, false
	}
}

// RequestID returns the request's id. It is empty if there is none yet.
func (s *State) RequestID() string { return get(s, func(q *request) string { return q.id }) }

// Principal returns the principal that this context acts for. It is empty if there is none.
func (s *State) Principal() string {
	if s == nil {
		return ""
	}
	return s.principal
}

// Authenticated returns the principal that the request itself was authenticated as. Outer layers
// learn it, for their logs. No decision may depend on it.
func (s *State) Authenticated() string { return get(s, func(q *request) string { return q.principal }) }

// Renderer returns the renderer of this context: the one that [WithRenderer] has set for
// it. If the context had none, a WithRenderer further in may have set it. It is nil if
// there is none.
func (s *State) Renderer() any {
	if s == nil {
		return nil
	}
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	return s.renderer
}

// adopt sets the renderer if s has none, and reports whether s has it now. If renderer is
// nil, adopt returns true.
func (s *State) adopt(renderer any) bool {
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	if s.renderer == nil {
		s.renderer = renderer
	}
	return renderer == nil || s.renderer == renderer
}

// Pattern returns the pattern of r, a request of this State, whose handler has returned. It
// is empty if it is not known.
func (s *State) Pattern(r *http.Request) string {
	if s == nil {
		return r.Pattern
	}
	return s.request.settle(r)
}

// WithPrincipal returns a copy of r whose context acts for p.
func WithPrincipal(r *http.Request, p string) *http.Request {
	s := From(r.Context())
	if s == nil {
		c := newContext(r, nil)
		c.state.principal, c.state.request.principal = p, p
		return r.WithContext(c)
	}
	copied := r.WithContext(s.as(r, p))
	s.request.authenticated(r, copied, p)
	return copied
}

// Logged returns r for a hook that logs: its context acts for the principal that the request was
// authenticated as.
func Logged(r *http.Request) *http.Request {
	s := From(r.Context())
	p := s.Authenticated()
	if p == "" || p == s.principal {
		return r
	}
	return r.WithContext(s.as(r, p))
}

// LogContext returns the context for a record about the request, by a layer whose own context is
// ctx: that of the request that came to a router inside the layer, because middleware in between
// may have added a trace to it. It is ctx if there was no such router. before is what Routed
// returned when the request came to the layer.
func (s *State) LogContext(ctx context.Context, before int) context.Context {
	inner := get(s, func(q *request) context.Context {
		if q.routed > before {
			return q.inner
		}
		return nil
	})
	return cmp.Or(inner, ctx)
}

// as returns r's context, acting for p.
func (s *State) as(r *http.Request, p string) context.Context {
	return &stateContext{r.Context(), State{principal: p, renderer: s.Renderer(), request: s.request}}
}

// SetPattern sets the route of r, which is answered through w. Outer layers learn it too. If w is
// nil, a copy of the request with another Header map counts as a sub-request.
func SetPattern(w http.ResponseWriter, r *http.Request, pattern string) {
	if r.Pattern != pattern {
		r.Pattern = pattern
	}
	if q := ownedBy(w, r); q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.routed, q.pattern, q.inner = q.routed+1, pattern, r.Context()
	}
}

// SetNoRoute records that a router has found no route for r, so that no one looks again. The router
// answers r itself: see [SetUnhandled].
func SetNoRoute(w http.ResponseWriter, r *http.Request) {
	if q := ownedBy(w, r); q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.routed, q.inner, q.unhandled = q.routed+1, r.Context(), true
	}
}

// SetUnhandled records that the router answers r itself, without a handler of the service.
func SetUnhandled(w http.ResponseWriter, r *http.Request) {
	if q := ownedBy(w, r); q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.unhandled = true
	}
}

// Unhandled reports whether the router has answered the request itself.
func (s *State) Unhandled() bool { return get(s, func(q *request) bool { return q.unhandled }) }

// ownedBy returns the request of r's State if r, which is answered through w, is that
// request or a copy of it. It is nil for a sub-request.
func ownedBy(w http.ResponseWriter, r *http.Request) *request {
	if s := From(r.Context()); s != nil && s.request.owns(w, r) {
		return s.request
	}
	return nil
}

// Routed returns how often a router has looked for the request's route.
func (s *State) Routed() int { return get(s, func(q *request) int { return q.routed }) }

// SetRequestID sets the request's id.
func (s *State) SetRequestID(id string) {
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	s.request.id = id
}

// EnsureRequestID returns the request's id. If there is none, it sets one that mint
// returns. On a nil *State, it only returns a new id.
func (s *State) EnsureRequestID(mint func() string) string {
	if s == nil {
		return mint()
	}
	q := s.request
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.id == "" {
		q.id = mint()
	}
	return q.id
}

// AnnounceRequestID puts the request's id (see [State.EnsureRequestID]) into both headers
// of the response. They share a slice whose capacity is its length, so that appending to
// one leaves the other alone.
func (s *State) AnnounceRequestID(w http.ResponseWriter, mint func() string) {
	value := []string{s.EnsureRequestID(mint)}
	track.SetField(w, "Request-Id", value)
	track.SetField(w, "X-Request-Id", value)
}

// owns reports whether r, which is answered through w, is the request that q is about and not a
// sub-request.
func (q *request) owns(w http.ResponseWriter, r *http.Request) bool {
	if q.is(r) {
		return true
	}
	s, _ := track.OwnerOf(w).(*State)
	return s != nil && s.request == q
}

// is reports whether r shares the header of the request that q is about, as its copies do.
func (q *request) is(r *http.Request) bool {
	return reflect.ValueOf(q.header).UnsafePointer() == reflect.ValueOf(r.Header).UnsafePointer()
}

// Panic is the error of a panic, which is already logged. It wraps nothing, so that no hook finds
// another error in it.
type Panic struct{}

func (Panic) Error() string { return "panic" }

// Recorded is an error that is already logged, such as that of an outage that affects many
// requests.
type Recorded string

func (r Recorded) Error() string { return string(r) }
