package ratelimit

import (
	"context"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// gate is the common part of [MaxConcurrent] and [Shed]: a request holds a slot while its
// handler runs, and is refused if none is free.
type gate struct {
	rule       string
	refusal    *apierror.Error
	retryAfter time.Duration
	shadow     bool
	observe    func(context.Context, Event)
}

func newGate(rule string, refusal *apierror.Error, retryAfter time.Duration, shadow bool, observe func(context.Context, Event)) gate {
	checkName(rule)
	if retryAfter < 0 {
		panic("ratelimit: a negative RetryAfter")
	}
	retryAfter = max(ceilSecond(retryAfter), time.Second)
	return gate{rule, refusal.WithRetryAfter(retryAfter), retryAfter, shadow, observe}
}

// admit reports whether the request may go on. If not, it answers the request. The
// request may go on if a slot was free, or in shadow mode. err is the error of [Slots] if
// another counter had to decide.
func (g *gate) admit(w http.ResponseWriter, r *http.Request, free bool, err error) bool {
	if free {
		g.notify(r, OutcomeAllowed, Decision{Allowed: true}, err)
		return true
	}
	g.notify(r, OutcomeDenied, Decision{RetryAfter: g.retryAfter}, err)
	return g.refuse(w, r, g.refusal)
}

// refuse answers the request with err, except in shadow mode. It reports whether the
// request may go on.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request, err error) (ok bool) {
	if !g.shadow {
		apierror.Write(w, r, err)
	}
	return g.shadow
}

func (g *gate) notify(r *http.Request, outcome Outcome, d Decision, err error) {
	if g.observe == nil {
		return
	}
	passed := outcome == OutcomeAllowed || outcome == OutcomeBypassed
	g.observe(r.Context(), Event{Rule: g.rule, Outcome: outcome, Decision: d, Shadow: g.shadow && !passed, Err: err})
}
