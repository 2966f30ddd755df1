package ratelimit

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// Class is the importance of a request when there are too many. The zero Class is
// ClassNormal.
type Class int

// The classes. With the default reserve, [Shed] refuses a class when the running requests
// reach the share of the capacity in its comment.
const (
	ClassLow      Class = iota - 1 // can wait, such as test mode and batches: 60%
	ClassNormal                    // all others: 80%
	ClassHigh                      // other requests depend on it, such as writes: 90%
	ClassCritical                  // must not fail, such as charges: 100%
)

// ShedOptions configure [Shed]. Nil and the zero value are the defaults.
type ShedOptions struct {
	// Rule is the name in events. If empty, it is "shed".
	Rule string

	// Reserve is the share of the capacity, less than 1, that ClassNormal requests leave
	// free. ClassLow requests leave the reserve and a quarter of the rest free. ClassHigh
	// requests leave half of the reserve free. If zero, it is 0.2. If negative, there is
	// no reserve.
	Reserve float64

	// Hysteresis is the share of the capacity, less than 1, that must become free before
	// a refused class is admitted again. It keeps Shed from switching back and forth with
	// every request. ClassCritical is admitted as soon as there is room. If zero, it is
	// 0.1. If negative, a single free slot is enough.
	Hysteresis float64

	// RetryAfter is the wait that a refused client is asked for, rounded up to whole
	// seconds. If zero, it is a second. It must not be negative.
	RetryAfter time.Duration

	// Skip exempts a request, such as a health check. If nil, no request is exempt.
	Skip func(*http.Request) bool

	// Shadow lets every request through, but still counts the running ones. Observe
	// reports which requests would have been refused.
	Shadow bool

	// Observe is called with the outcome of every request. It must not block, since the
	// request waits for it. If nil, nothing is observed.
	Observe func(context.Context, Event)
}

// Shed returns a middleware that refuses requests with 503 service_unavailable if too
// many run in this process. It refuses the least important ones first. The capacity is
// the number of requests that the process can serve well at the same time, for example
// the number of its workers or database connections. A class is refused when the running
// requests reach its share of the capacity: see [ShedOptions]. If a class is refused, all
// lower classes are refused too. Since every process keeps a share free for
// ClassCritical, the whole fleet does. Shed panics if the capacity is not positive or an
// option is invalid.
//
// The class function returns the class of a request, for example by its route. It is not
// safe to use a header that the client may set. If the class depends on the principal,
// Shed must come after authentication, and a refused request still costs the work of
// authentication. If class is nil, all requests are ClassNormal.
//
// A request holds its slot until its handler returns or panics. A hijacked connection
// holds no slot after that. The problem type of a refusal is temporary-reduced-capacity
// of the RateLimit draft. It has no violated-policies, since the caller has not violated
// a policy.
func Shed(capacity int, class func(*http.Request) Class, o *ShedOptions) func(http.Handler) http.Handler {
	if capacity <= 0 {
		panic("ratelimit: Shed needs a positive capacity")
	}
	if o == nil {
		o = &ShedOptions{}
	}
	if class == nil {
		class = func(*http.Request) Class { return ClassNormal }
	}
	busy := apierror.CodeServiceUnavailable.New().WithProblemType(reducedCapacity, "Temporary Reduced Capacity")
	s := &shed{
		class:  class,
		skip:   o.Skip,
		gate:   newGate(cmp.Or(o.Rule, "shed"), busy, o.RetryAfter, o.Shadow, o.Observe),
		levels: newLevels(capacity, share("Reserve", o.Reserve, 0.2), share("Hysteresis", o.Hysteresis, 0.1)),
	}
	return s.wrap
}

// share returns the value of an option that is a share of the capacity.
func share(name string, v, byDefault float64) float64 {
	if v >= 1 || math.IsNaN(v) {
		panic("ratelimit: ShedOptions." + name + " must be less than 1")
	}
	return max(cmp.Or(v, byDefault), 0)
}

type shed struct {
	class func(*http.Request) Class
	skip  func(*http.Request) bool
	gate  gate

	mu     sync.Mutex
	held   int
	levels levels
}

// levels are the states of the classes, from ClassLow on.
type levels [ClassCritical - ClassLow + 1]level

// level is the state of one class. The class is refused when at least stop slots are
// held, and admitted again when at most resume slots are held.
type level struct {
	stop, resume int
	refused      bool
}

func newLevels(capacity int, reserve, hysteresis float64) (l levels) {
	capacity = min(capacity, 1<<30)                                                      // so that the shares fit an int
	part := func(share float64) int { return max(int(share*float64(capacity)+1e-9), 1) } // 0.7*10 is 6.999…
	for i, left := range [...]float64{reserve + (1-reserve)/4, reserve, reserve / 2} {
		stop := part(1 - left)
		l[i] = level{stop: stop, resume: max(stop-part(hysteresis), 0)}
	}
	l[ClassCritical-ClassLow] = level{stop: capacity, resume: capacity - 1}
	return l
}

func (s *shed) wrap(next http.Handler) http.Handler {
	checkHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.skip != nil && s.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		free := s.enter(min(max(s.class(r), ClassLow), ClassCritical))
		if free || s.gate.shadow {
			defer s.leave() // also if something panics from here on
		}
		if s.gate.admit(w, r, free, nil) {
			next.ServeHTTP(w, r)
		}
	})
}

// enter takes a slot, and reports whether one was free for the class. In shadow mode it
// takes one in any case.
func (s *shed) enter(c Class) (free bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free = !s.levels[c-ClassLow].refused
	if free || s.gate.shadow {
		s.count(1)
	}
	return free
}

func (s *shed) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(-1)
}

func (s *shed) count(n int) {
	s.held += n
	for i := range s.levels {
		switch l := &s.levels[i]; {
		case s.held >= l.stop:
			l.refused = true
		case s.held <= l.resume:
			l.refused = false
		}
	}
}
