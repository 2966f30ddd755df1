// Package reqstate holds what Seawall's packages know about one request and share through its context: the request id, the
// principal, the route pattern and the error that was answered. It is one value, so a request pays for one context layer.
package reqstate

import (
	"context"
	"net/http"
	"sync"
)

// State is what is known about one request. Its methods may be called by several goroutines, also after the handler has
// returned: http.TimeoutHandler leaves one behind that may still report an error.
type State struct {
	mu        sync.Mutex
	requestID string
	principal string
	pattern   string
	err       error
	gone      bool
	renderer  any
}

// stateContext is the context layer and the state in one allocation.
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

// From returns the state that ctx carries, nil where there is none.
func From(ctx context.Context) *State {
	s, _ := ctx.Value(stateKey{}).(*State)
	return s
}

// Ensure returns the request's state, and the request to pass on: r itself when it had a state already, else a shallow copy
// whose context carries a new one.
func Ensure(r *http.Request) (*http.Request, *State) {
	if s := From(r.Context()); s != nil {
		return r, s
	}
	c := &stateContext{Context: r.Context()}
	return r.WithContext(c), &c.state
}

// RequestID is the request's id, "" while it has none. Like the other getters it may be called on nil.
func (s *State) RequestID() string { return get(s, func(s *State) string { return s.requestID }) }

// Principal is whom authentication found, "" while nobody said.
func (s *State) Principal() string { return get(s, func(s *State) string { return s.principal }) }

// Pattern is the route pattern that a mux matched, "" while none did.
func (s *State) Pattern() string { return get(s, func(s *State) string { return s.pattern }) }

// Err is the error that was last answered, nil while there was none.
func (s *State) Err() error { return get(s, func(s *State) error { return s.err }) }

// Gone tells whether the answer was given to a request whose own context was cancelled: it counts as 499.
func (s *State) Gone() bool { return get(s, func(s *State) bool { return s.gone }) }

// Renderer is what SetRenderer was last given, nil for nothing.
func (s *State) Renderer() any { return get(s, func(s *State) any { return s.renderer }) }

// EnsureRequestID returns the request's id. Where there is none it makes one, which is the request's from then on, also for
// others who ask at the same time. On nil it makes one that nobody keeps.
func (s *State) EnsureRequestID(mint func() string) string {
	if s == nil {
		return mint()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requestID == "" {
		s.requestID = mint()
	}
	return s.requestID
}

// AnnounceRequestID puts the request's id, which is made where there is none, into both headers of the response. They share one
// array, each slice at its full capacity, so that adding to one leaves the other alone.
func (s *State) AnnounceRequestID(h http.Header, mint func() string) {
	value := []string{s.EnsureRequestID(mint)}
	h["Request-Id"], h["X-Request-Id"] = value, value
}

func (s *State) SetRequestID(id string) { s.set(&s.requestID, id) }
func (s *State) SetPrincipal(p string)  { s.set(&s.principal, p) }
func (s *State) SetPattern(p string)    { s.set(&s.pattern, p) }

// SetErr records the error that is being answered, and whether the client had gone.
func (s *State) SetErr(err error, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.gone = err, gone
}

// SetRenderer sets how errors of this request are rendered, and returns what it was before.
func (s *State) SetRenderer(renderer any) (before any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.renderer = s.renderer, renderer
	return before
}

// get reads what a state holds; of nil, which holds nothing, it is the zero value.
func get[T any](s *State, read func(*State) T) (none T) {
	if s == nil {
		return none
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return read(s)
}

func (s *State) set(field *string, v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*field = v
}

// Logged is an error that has its line in the log already, so that who answers it writes none.
type Logged string

func (l Logged) Error() string { return string(l) }
