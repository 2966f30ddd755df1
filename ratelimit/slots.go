package ratelimit

import (
	"context"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// slots is the common part of [MaxConcurrent] and [Shed]: a request holds a slot while
// its handler runs, and is refused if none is free.
type slots struct {
	rule       string
	refusal    *apierror.Error
	retryAfter time.Duration
	shadow     bool
	observe    func(context.Context, Event)
}

func newSlots(rule string, refusal *apierror.Error, retryAfter time.Duration, shadow bool, observe func(context.Context, Event)) slots {
	checkName(rule)
	if retryAfter < 0 {
		panic("ratelimit: a negative RetryAfter")
	}
	retryAfter = max(ceilSecond(retryAfter), time.Second)
	return slots{rule, refusal.WithRetryAfter(retryAfter), retryAfter, shadow, observe}
}

// admit reports whether the request may go on. If not, it answers the request. The
// request may go on if a slot was free, or in shadow mode.
func (s *slots) admit(w http.ResponseWriter, r *http.Request, free bool) bool {
	event := Event{Rule: s.rule, Outcome: OutcomeAllowed, Decision: Decision{Allowed: true}}
	if !free {
		event = Event{Rule: s.rule, Outcome: OutcomeDenied, Decision: Decision{RetryAfter: s.retryAfter}, Shadow: s.shadow}
	}
	if s.observe != nil {
		s.observe(r.Context(), event)
	}
	if !free && !s.shadow {
		apierror.Write(w, r, s.refusal)
		return false
	}
	return true
}
