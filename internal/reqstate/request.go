package reqstate

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/seawall-go/seawall/internal/track"
)

// request is what all contexts of a request know. Several goroutines may use it, even after
// the handler has returned: http.TimeoutHandler leaves a goroutine behind that may still
// report an error.
type request struct {
	first stateContext // the request's first context, in the same allocation

	header http.Header // identifies the request: its copies share the map, its sub-requests do not
	outer  *request    // the request that this one is a sub-request of, or nil

	mu        sync.Mutex
	inner     context.Context //nolint:containedctx // of the request that came to the router
	id        string
	pattern   string
	principal string
	copies    []copied

	routed  int     // how often a router has looked for the pattern
	bodyErr error   // the error that reading the body failed with
	tried   attempt // the last error that was about to be sent
	sent    error   // the error that was sent
	late    error   // the last error that came too late to be sent

	unhandled  bool // the router has answered by itself
	left       bool // the outermost Serve has ended
	bodyDone   bool // the body has failed or was closed
	hasTracker bool
	final      bool // the outermost tracker has seen the status
	gone       bool // sent was the answer to a request that was canceled
}

// attempt is an error that is about to be sent with a status. gone reports whether its
// request was canceled.
type attempt struct {
	err    error
	status int
	gone   bool
}

// copied is a copy of a request that acts for a principal. pattern is the one that both had when
// the copy was made.
type copied struct {
	from, to *http.Request
	pattern  string
}

// maxCopies bounds how many copies of a request are remembered. Each authentication makes one.
const maxCopies = 8

// authenticated records that c is a copy of r that acts for p.
func (q *request) authenticated(r, c *http.Request, p string) {
	if !q.is(r) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.left && len(q.copies) < maxCopies {
		q.copies = append(q.copies, copied{r, c, c.Pattern})
	}
	if q.principal == "" {
		q.principal = p
	}
}

// takeCopyOf returns the oldest copy of r and forgets it. If there is none, c.to is nil.
// pattern is the pattern of the whole request.
func (q *request) takeCopyOf(r *http.Request) (c copied, pattern string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.copies, func(c copied) bool { return c.from == r })
	if i >= 0 {
		c = q.copies[i]
		q.copies = slices.Delete(q.copies, i, i+1)
	}
	return c, q.pattern
}

// leave is called when a [Serve] of r ends. If that Serve is the outermost of the request,
// leave forgets the copies: a context of the request may live longer and must not keep
// them.
func (s *State) leave(r *http.Request) {
	if outer := From(r.Context()); s == nil || outer != nil && outer.request == s.request {
		return
	}
	q := s.request
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.copies)
	q.left, q.copies = true, nil
}

// settle hands the patterns and forms of r's copies back to r, and returns the pattern.
func (q *request) settle(r *http.Request) string {
	c, pattern := q.takeCopyOf(r)
	for ; c.to != nil; c, pattern = q.takeCopyOf(r) {
		q.settle(c.to)
		if c.to.Pattern != c.pattern { // otherwise r may have a newer one
			r.Pattern = c.to.Pattern
		}
		handBackForm(r, c.to)
	}
	if !q.is(r) {
		return r.Pattern
	}
	return cmp.Or(pattern, r.Pattern)
}

// tracked returns w with a tracker that reports to s.
func (q *request) tracked(w http.ResponseWriter, r *http.Request, s *State) http.ResponseWriter {
	w, t := track.Wrap(w, r)
	if t.Owned() {
		return w
	}
	q.mu.Lock()
	outermost := !q.hasTracker
	q.hasTracker = true
	q.mu.Unlock()
	track.SetOwner(w, s, outermost) // may call s.Answered, so the lock is not held
	return w
}

// Sending records that err is about to be sent with status, through a writer that may be a
// buffer. The error counts as sent when a response with that status is sent, so that the
// error of a sub-request, whose response goes elsewhere, is not mistaken for the request's.
func (s *State) Sending(err error, status int, gone bool) {
	if s == nil {
		return
	}
	for q := s.request; q != nil; q = q.outer {
		q.mu.Lock()
		q.tried = attempt{err, status, gone}
		q.mu.Unlock()
	}
}

// TooLate records that err came after r had been answered through w.
func (s *State) TooLate(w http.ResponseWriter, r *http.Request, err error) {
	if s != nil && s.request.owns(w, r) {
		q := s.request
		q.mu.Lock()
		defer q.mu.Unlock()
		q.late = err
	}
}

// Answered implements [track.Owner]. The status that the outermost tracker reports is
// final, because an inner one may have written to a buffer.
func (s *State) Answered(status int, outermost bool) {
	q := s.request
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.final {
		return
	}
	q.final, q.sent, q.gone = outermost, nil, false
	if q.tried.status == status {
		q.sent, q.gone = q.tried.err, q.tried.gone
	}
}

// Err returns the error that the request was answered with, or nil.
func (s *State) Err() error { return get(s, func(q *request) error { return q.sent }) }

// Gone reports whether the error was the answer to a request that was canceled, which is
// logged as 499.
func (s *State) Gone() bool { return get(s, func(q *request) bool { return q.gone }) }

// Late returns the last error that came too late to be sent, or nil.
func (s *State) Late() error { return get(s, func(q *request) error { return q.late }) }

// get reads a field of the request under its lock. It returns the zero value if s is nil.
func get[T any](s *State, read func(*request) T) (none T) {
	if s == nil {
		return none
	}
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	return read(s.request)
}
