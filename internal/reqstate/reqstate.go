// Package reqstate holds what Seawall's packages know about one request and share through its
// context.
//
// There are two kinds of knowledge. A principal and a renderer belong to the context that they were
// put into, and do not change. The request id, the route pattern, and the error that was answered
// belong to the request: outer layers learn them when the handler has returned.
package reqstate

import (
	"context"
	"net/http"
	"reflect"

	"github.com/seawall-go/seawall/internal/track"
)

// State is what one context of a request knows. All getters may be called on nil.
type State struct {
	principal string
	request   *request
	renderer  any // set once, under request.mu
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

// From returns the State of ctx. It is nil if there is none.
func From(ctx context.Context) *State {
	s, _ := ctx.Value(stateKey{}).(*State)
	return s
}

// Of returns the State of r's context. If a middleware has replaced that context by one without a
// State, it is the one that was current where w's tracker was made, without its principal.
func Of(w http.ResponseWriter, r *http.Request) *State {
	if s := From(r.Context()); s != nil {
		return s
	}
	return trackedBy(w)
}

// trackedBy returns the State that w's tracker was made for, without its principal. It is nil
// for none.
func trackedBy(w http.ResponseWriter) *State {
	s, _ := track.OwnerOf(w).(*State)
	if s == nil || s.principal == "" {
		return s
	}
	return &State{renderer: s.Renderer(), request: s.request}
}

// Ensure returns r itself and the State of its context, or a copy of r whose context has a new
// State.
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
// request to pass on: r itself if its context has the State already, otherwise a copy that is to be
// served by [Serve].
//
// A sub-request, which a handler serves with a context derived from that of its own request and
// with its own writer, gets its own State. It inherits the id, the principal and the
// renderer.
func Enter(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, *State) {
	return enter(w, r, nil)
}

// WithRenderer is [Enter], for a context with this renderer.
func WithRenderer(w http.ResponseWriter, r *http.Request, renderer any) (http.ResponseWriter, *http.Request) {
	w, r, _ = enter(w, r, renderer)
	return w, r
}

func enter(w http.ResponseWriter, r *http.Request, renderer any) (http.ResponseWriter, *http.Request, *State) {
	s := From(r.Context())
	known := s
	if s == nil {
		known = trackedBy(w)
	}
	if renderer == nil {
		renderer = known.Renderer()
	}
	var c *stateContext
	body := r.Body
	switch {
	case known == nil:
		c = newContext(r, renderer)
		body = c.state.request.watch(r)
	case !known.request.owns(w, r):
		c = newContext(r, renderer)
		body = c.state.request.watch(r)
		c.state.principal = known.principal
		c.state.request.outer, c.state.request.id = known.request, known.RequestID()
	case s == nil:
		c = &stateContext{r.Context(), State{renderer: renderer, request: known.request}}
	case !s.adopt(renderer):
		c = &stateContext{r.Context(), State{principal: s.principal, renderer: renderer, request: s.request}}
	default:
		return s.request.tracked(w, r, s), r, s
	}
	s = &c.state
	if track.Is(w) {
		inside := r.WithContext(c)
		inside.Body = body
		return s.request.tracked(w, r, s), inside, s
	}
	// Both live as long as the request is served, so they share an allocation. A context may live
	// longer, and must not keep them.
	x := &struct {
		response track.Response
		request  http.Request
	}{request: *r.WithContext(c)}
	x.request.Body = body
	w = track.WrapInto(&x.response, w, r)
	return s.request.tracked(w, r, s), &x.request, s
}

// RequestID returns the request's id. It is empty while it has none.
func (s *State) RequestID() string { return get(s, func(q *request) string { return q.id }) }

// Principal returns whom this context acts for. It is empty if no one was named.
func (s *State) Principal() string {
	if s == nil {
		return ""
	}
	return s.principal
}

// Authenticated returns whom the request itself was found to act for. Unlike [State.Principal] it
// is known to outer layers, for their logs; nothing may be decided by it.
func (s *State) Authenticated() string { return get(s, func(q *request) string { return q.principal }) }

// Renderer returns what [WithRenderer] was given for this context, or by a middleware further in if
// this one has no renderer of its own. It is nil for nothing.
func (s *State) Renderer() any {
	if s == nil {
		return nil
	}
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	return s.renderer
}

// adopt reports whether s has this renderer: it takes it if it has none. Nil is any.
func (s *State) adopt(renderer any) bool {
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	if s.renderer == nil {
		s.renderer = renderer
	}
	return renderer == nil || s.renderer == renderer
}

// Pattern returns the route of r, a request of this State, as far as it is known. Its handler must
// have returned.
func (s *State) Pattern(r *http.Request) string {
	if s == nil {
		return r.Pattern
	}
	return s.request.settle(r)
}

// WithPrincipal returns a copy of r whose context acts for p.
func WithPrincipal(r *http.Request, p string) *http.Request {
	s := From(r.Context())
	if s == nil { // no one further out waits for what the copy learns
		s = &newContext(r, nil).state
		s.request.principal = p
		return r.WithContext(s.as(r, p))
	}
	c := r.WithContext(s.as(r, p))
	s.request.authenticated(r, c, p)
	return c
}

// Logged is WithPrincipal for a hook that logs: r's context acts for whom the request was found to.
func Logged(r *http.Request) *http.Request {
	s := From(r.Context())
	p := s.Authenticated()
	if p == "" || p == s.principal {
		return r
	}
	return r.WithContext(s.as(r, p))
}

// as returns r's context, acting for p.
func (s *State) as(r *http.Request, p string) context.Context {
	q, renderer := s.request, s.Renderer()
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &q.authenticatedAs
	if c.Context != nil { // the room is taken
		c = new(stateContext)
	}
	*c = stateContext{r.Context(), State{principal: p, renderer: renderer, request: q}}
	return c
}

// SetPattern sets the route of r, which is answered through w, for outer layers too. A nil w is
// unknown: then a copy of the request with its own header is taken for a sub-request.
func SetPattern(w http.ResponseWriter, r *http.Request, pattern string) {
	if r.Pattern != pattern {
		r.Pattern = pattern
	}
	setRoute(w, r, func(q *request) { q.pattern = pattern })
}

// SetNoRoute says that a router has found no route for r, so that no one needs to look again.
func SetNoRoute(w http.ResponseWriter, r *http.Request) { setRoute(w, r, func(*request) {}) }

func setRoute(w http.ResponseWriter, r *http.Request, set func(*request)) {
	if s := From(r.Context()); s != nil && s.request.owns(w, r) {
		q := s.request
		q.mu.Lock()
		defer q.mu.Unlock()
		q.routed = true
		set(q)
	}
}

// Routed reports whether a router has told what it found for the request.
func (s *State) Routed() bool { return get(s, func(q *request) bool { return q.routed }) }

// SetRequestID sets the request's id.
func (s *State) SetRequestID(id string) { s.request.set(&s.request.id, id) }

// EnsureRequestID returns the request's id. Where there is none it makes one, which is the
// request's from then on, also for others who ask at the same time. On nil it makes one that
// nobody keeps.
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

// AnnounceRequestID puts the request's id, which is made where there is none, into both headers
// of the response. They share one array, each slice at its full capacity, so that adding to one
// leaves the other alone.
func (s *State) AnnounceRequestID(w http.ResponseWriter, mint func() string) {
	value := []string{s.EnsureRequestID(mint)}
	track.SetField(w, "Request-Id", value)
	track.SetField(w, "X-Request-Id", value)
}

// owns reports whether r, which is answered through w, is the request that q is about, and not a
// sub-request that a handler serves with a context derived from that of its own.
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

// Panic is the error of a panic: it has its record in the log already, and no hook may find another
// error in it.
type Panic struct{}

func (Panic) Error() string { return "panic" }

// Recorded is an error that has its record in the log already, such as one of an outage that many
// requests meet.
type Recorded string

func (r Recorded) Error() string { return string(r) }
