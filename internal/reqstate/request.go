package reqstate

import (
	"cmp"
	"net/http"
	"slices"
	"sync"

	"github.com/seawall-go/seawall/internal/track"
)

// request is what everyone learns about a request who has a context of it. It may be used by
// several goroutines, also after the handler has returned: http.TimeoutHandler leaves one behind
// that may still report an error.
type request struct {
	first stateContext // is made with the request

	header http.Header // tells the request from its sub-requests
	outer  *request    // that this one is a sub-request of

	mu        sync.Mutex
	id        string
	pattern   string
	principal string
	copies    []copied
	oneCopy   [1]copied // the room for the first

	authenticatedAs stateContext // the room for the first that acts for a principal

	bodyErr error   // what reading the body has failed with
	tried   attempt // the last error that was about to be sent
	sent    error   // the one that was
	late    error

	routed     bool // a router has looked for the pattern
	left       bool // by the outermost Serve
	bodyDone   bool // the body has failed or was closed
	hasTracker bool
	final      bool // the outermost tracker has seen the status
	gone       bool // sent was, to a request that was canceled
}

// attempt is an error that is sent with a status.
type attempt struct {
	err    error
	status int
	gone   bool
}

// copied says that a request is a copy of another one, for a principal. pattern is what both had
// then.
type copied struct {
	from, to *http.Request
	pattern  string
}

// maxCopies bounds how many copies are remembered: one for each authentication, as a rule.
const maxCopies = 8

// authenticated records that c is a copy of r that acts for p.
func (q *request) authenticated(r, c *http.Request, p string) {
	if !q.is(r) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.copies == nil {
		q.copies = q.oneCopy[:0]
	}
	if !q.left && len(q.copies) < maxCopies {
		q.copies = append(q.copies, copied{r, c, c.Pattern})
	}
	if q.principal == "" {
		q.principal = p
	}
}

// takeCopyOf returns the first copy of r, and forgets it. Its to is nil if there is none. The
// pattern is that of the request.
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

// leave forgets the copies when the outermost [Serve] of the request ends, which was given r:
// a context of the request may live longer, and must not keep them.
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

// settle takes back into r what its copies for a principal have learned, and returns the route.
func (q *request) settle(r *http.Request) string {
	c, pattern := q.takeCopyOf(r)
	for ; c.to != nil; c, pattern = q.takeCopyOf(r) {
		q.settle(c.to)
		if c.to.Pattern != c.pattern { // else r may know more
			r.Pattern = c.to.Pattern
		}
		handBackForm(r, c.to)
	}
	if !q.is(r) {
		return r.Pattern
	}
	return cmp.Or(pattern, r.Pattern)
}

// tracked returns w with a tracker that tells s what was answered.
func (q *request) tracked(w http.ResponseWriter, r *http.Request, s *State) http.ResponseWriter {
	w, t := track.Wrap(w, r)
	if t.Owned() {
		return w
	}
	q.mu.Lock()
	outermost := !q.hasTracker
	q.hasTracker = true
	q.mu.Unlock()
	track.SetOwner(w, s, outermost) // tells s the status, which takes the lock, if there is one already
	return w
}

// Sending says that err is about to be sent with status, through a writer that may be a buffer. It
// has been when a response with that status goes out. The error of a sub-request, whose context
// leads here, is not taken for that of the request: its status goes elsewhere.
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

// TooLate says that err came when r had been answered through w.
func (s *State) TooLate(w http.ResponseWriter, r *http.Request, err error) {
	if s != nil && s.request.owns(w, r) {
		q := s.request
		q.mu.Lock()
		defer q.mu.Unlock()
		q.late = err
	}
}

// Answered is called by trackers. What the outermost one says is final; an inner one may have told
// a buffer.
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

// Err returns the error that the request was answered with. It is nil if there was none.
func (s *State) Err() error { return get(s, func(q *request) error { return q.sent }) }

// Gone reports whether the error was sent to a request whose own context was canceled: it counts
// as 499.
func (s *State) Gone() bool { return get(s, func(q *request) bool { return q.gone }) }

// Late returns the last error that came too late to be sent. It is nil if there was none.
func (s *State) Late() error { return get(s, func(q *request) error { return q.late }) }

func get[T any](s *State, read func(*request) T) (none T) {
	if s == nil {
		return none
	}
	s.request.mu.Lock()
	defer s.request.mu.Unlock()
	return read(s.request)
}

func (q *request) set(field *string, v string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	*field = v
}
