package ratelimit

import (
	"context"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// permit is what [MaxConcurrent] and [Shed] do alike: a request holds something for as long as its
// handler runs, or is refused.
type permit struct {
	name       string
	refusal    *apierror.Error
	retryAfter time.Duration
	shadow     bool
	observe    func(context.Context, Event)
}

func newPermit(name string, refusal *apierror.Error, retryAfter time.Duration, shadow bool, observe func(context.Context, Event)) permit {
	checkName(name)
	if retryAfter < 0 {
		panic("ratelimit: a negative RetryAfter")
	}
	retryAfter = max(ceilSecond(retryAfter), time.Second)
	return permit{name, refusal.WithRetryAfter(retryAfter), retryAfter, shadow, observe}
}

// serve runs next with the permit that was allowed, and then leaves. In shadow mode every request
// has one.
func (p *permit) serve(w http.ResponseWriter, r *http.Request, next http.Handler, allowed bool, leave func()) {
	if allowed || p.shadow {
		defer leave() // whatever panics from here on
	}
	event := Event{Rule: p.name, Outcome: OutcomeAllowed, Decision: Decision{Allowed: true}}
	if !allowed {
		event.Outcome, event.Decision, event.Shadow = OutcomeDenied, Decision{RetryAfter: p.retryAfter}, p.shadow
	}
	if p.observe != nil {
		p.observe(r.Context(), event)
	}
	if !allowed && !p.shadow {
		apierror.Write(w, r, p.refusal)
		return
	}
	next.ServeHTTP(w, r)
}
