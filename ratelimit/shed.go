package ratelimit

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// Class is how much a request matters when there are too many. The zero Class is ClassNormal.
type Class int

// The classes, and when [Shed] refuses them if the reserve is 20 % of the capacity.
const (
	ClassLow      Class = iota - 1 // what can wait, such as test mode and batches: from 60 % on
	ClassNormal                    // from 80 % on
	ClassHigh                      // what others depend on, such as writes: from 90 % on
	ClassCritical                  // what must not fail, such as charges: when all is taken
)

// ShedOptions are options of [Shed].
type ShedOptions struct {
	// Rule is the name in events. The default is "shed".
	Rule string

	// Reserve is the share of the capacity that ClassNormal requests leave alone, from 0 to 1. ClassLow ones
	// leave a quarter of the rest alone, too; ClassHigh ones leave half of the reserve. 0 is 0.2,
	// negative is no reserve.
	Reserve float64

	// Hysteresis is the share of the capacity that must have come free before a class that was
	// refused is admitted again: without it, the service would change its mind with every request.
	// ClassCritical requests are admitted as soon as there is room. 0 is 0.1, negative is none.
	Hysteresis float64

	// RetryAfter is what a refused request is told to wait. It is rounded up to whole seconds. 0 is
	// a second.
	RetryAfter time.Duration

	// Skip exempts requests, such as health checks. Nil exempts none.
	Skip func(*http.Request) bool

	// Shadow lets every request through, and counts it: what would have been refused is only told
	// to Observe.
	Shadow bool

	// Observe is told the outcome of every request; of the Decision, Allowed and RetryAfter are
	// set. Nil is nobody. It must be quick: the request waits for it.
	Observe func(context.Context, Event)
}

// Shed returns a middleware that refuses requests with 503 service_unavailable when the process has
// too much to do, the least important ones first. Capacity is the number of requests that it does
// well at once: that of its workers, or of its database connections. Each class is refused from a
// share of it on, and for a while after: see [ShedOptions]. Whenever a class is refused, so are all
// below it. As what is kept for Critical requests is a share of every process, it is one of the
// fleet.
//
// The class of a request is for the service to say: by its route, never by a header that the client
// may set. By the principal's plan it can only say it inside of authentication, whose own work Shed
// does not spare the process then. A nil function makes all of them ClassNormal. Nil options are the
// defaults. It panics if the capacity is not positive.
//
// A request counts until its handler returns, however it does: a panic ends it too, and a hijacked
// connection goes on uncounted. The problem type of a refusal is the RateLimit draft's
// temporary-reduced-capacity. It has no violated-policies: the caller has violated none.
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
	capacity = min(capacity, 1<<30) // no process runs more, and shares of the largest int would not fit an int
	busy := apierror.CodeServiceUnavailable.New().WithProblemType(reducedCapacity, "Temporary Reduced Capacity")
	s := &shed{
		class:  class,
		skip:   o.Skip,
		permit: newPermit(cmp.Or(o.Rule, "shed"), busy, o.RetryAfter, o.Shadow, o.Observe),
	}
	reserve, hysteresis := share("Reserve", o.Reserve, 0.2), share("Hysteresis", o.Hysteresis, 0.1)
	part := func(share float64) int { return max(int(share*float64(capacity)+1e-9), 1) }
	for i, left := range [...]float64{reserve + (1-reserve)/4, reserve, reserve / 2} {
		stop := part(1 - left)
		s.grades[i] = grade{stop: stop, resume: max(stop-part(hysteresis), 0)}
	}
	s.grades[ClassCritical-ClassLow] = grade{stop: capacity, resume: capacity - 1}
	return s.middleware
}

// share is an option that is a share, or its default, or 0 when it is off.
func share(name string, v, byDefault float64) float64 {
	switch {
	case v == 0:
		return byDefault
	case v < 0:
		return 0
	case v < 1:
		return v
	}
	panic("ratelimit: ShedOptions." + name + " must be under 1")
}

type shed struct {
	class  func(*http.Request) Class
	skip   func(*http.Request) bool
	permit permit

	mu      sync.Mutex
	running int
	grades  [ClassCritical - ClassLow + 1]grade
}

// grade is the state of one class.
type grade struct {
	stop, resume int // requests that run when it begins to be refused, and when it is admitted again
	refused      bool
}

func (s *shed) middleware(next http.Handler) http.Handler {
	checkHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.skip != nil && s.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		class := min(max(s.class(r), ClassLow), ClassCritical)
		s.permit.serve(w, r, next, s.enter(class), s.leave)
	})
}

// enter counts a request in, if its class is admitted or nothing is to be refused, and tells
// whether it is.
func (s *shed) enter(c Class) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := s.grades[c-ClassLow].refused
	if !refused || s.permit.shadow {
		s.count(1)
	}
	return !refused
}

func (s *shed) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(-1)
}

func (s *shed) count(n int) {
	s.running += n
	for i := range s.grades {
		switch g := &s.grades[i]; {
		case s.running >= g.stop:
			g.refused = true
		case s.running <= g.resume:
			g.refused = false
		}
	}
}
