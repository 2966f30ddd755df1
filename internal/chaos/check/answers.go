package check

import (
	"net/http"
	"slices"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// twoAnswers finds answers of a key that differ. The answer of a run that was not recorded is
// sent all the same, and then another run answers. A store that forgets must have done so
// between the two calls.
func (e *episode) twoAnswers(k *key) {
	cause := ""
	for i := range k.calls {
		for j := range i {
			a, b := &k.calls[j], &k.calls[i]
			switch {
			case !a.told() || !b.told() || a.ret.Status == b.ret.Status && a.ret.Answer == b.ret.Answer:
			case k.mayChange(a) || k.mayChange(b):
				cause = causeUnrecorded
			case e.forgotBetween(k, a, b):
				cause = causeForgotten
			default:
				e.find(k, TwoAnswers, "the answers differ: %d %+v and %d %+v", a.ret.Status, a.ret.Answer, b.ret.Status, b.ret.Answer)
				return
			}
		}
	}
	if cause != "" {
		e.allow(k, "two answers: "+cause)
	}
}

// mayChange reports whether the answer of a call is that of a run that was not recorded, so
// that another run can answer differently. If it is a 201, only the ways that run again have
// that: in the others, the next answer comes from the effect of the first run.
func (k *key) mayChange(c *call) bool {
	again := k.way == history.Plain || k.way == history.DerivedKey || c.ret.Status == http.StatusPaymentRequired
	return again && k.unrecorded(c.ret.Answer.Run)
}

// forgotBetween reports whether the store can have lost what one of two calls was told before it
// answered the other one.
func (e *episode) forgotBetween(k *key, a, b *call) bool {
	return e.forgets(k, min(a.At, b.At), max(a.ret.At, b.ret.At))
}

// unrecorded reports whether the end of a run could not be recorded.
func (k *key) unrecorded(run string) bool {
	end := k.end(run)
	return end != nil && end.Outcome == string(idempotent.OutcomeUnrecorded)
}

// unrecordedDuring reports whether a run that could not be recorded has ended during a call. A call
// that waited for it is told what it would have recorded.
func (k *key) unrecordedDuring(c *call) bool {
	return slices.ContainsFunc(k.ends, func(x history.End) bool {
		return x.Outcome == string(idempotent.OutcomeUnrecorded) && x.At >= c.At && x.At <= c.ret.At
	})
}

// settled is the run of a 402 that an operator has recorded. It names no amount.
const settled = "settled"

// anothersAnswer finds answers that belong to another key or amount.
func (e *episode) anothersAnswer(k *key) {
	for i := range k.calls {
		c := &k.calls[i]
		a := c.ret.Answer
		switch {
		case !c.created() && a == history.Answer{}:
		case c.told() && a.Key != k.name, c.told() && a.Amount != c.Amount && a.Run != settled:
			e.find(k, AnothersAnswer, "%s: a request for %d was answered %d with %+v", c.ID, c.Amount, c.ret.Status, a)
		}
	}
}

// falseConflict finds conflicts of requests that do not differ, also those at the provider.
func (e *episode) falseConflict(k *key) {
	for i := range k.calls {
		if c := &k.calls[i]; !k.mixed && (c.refused(codeConflict) || c.refused(codeProviderConflict)) {
			e.find(k, FalseConflict, "%s: all requests of the key have the amount %d", c.ID, c.Amount)
		}
	}
}

// missedConflict finds different requests that were both answered 201.
func (e *episode) missedConflict(k *key) {
	if !k.mixed {
		return
	}
	for i := range k.calls {
		for j := range i {
			a, b := &k.calls[j], &k.calls[i]
			if a.created() && b.created() && a.Amount != b.Amount && !e.forgotBetween(k, a, b) {
				e.find(k, MissedConflict, "%s for %d and %s for %d were both answered 201", a.ID, a.Amount, b.ID, b.Amount)
			}
		}
	}
}

// unknownUnmarked finds unknown outcomes in the ways that mark nothing.
func (e *episode) unknownUnmarked(k *key) {
	if k.way == history.BeginEffect || k.way == history.BeginEffectTx {
		return
	}
	for i := range k.calls {
		if c := &k.calls[i]; c.refused(codeUnknown) {
			e.find(k, UnknownUnmarked, "%s: %s", c.ID, c.answer())
		}
	}
}

// noFinalAnswer finds requests that were never answered: the calls of a key with one amount.
func (e *episode) noFinalAnswer(k *key) {
	for i := range k.calls {
		if c := &k.calls[i]; !k.isAnswered(c.Amount) {
			e.find(k, NoFinalAnswer, "the request for %d has no final answer, and the last one of the key is %s", c.Amount, k.last().answer())
		}
	}
}

// last returns the call that was answered last.
func (k *key) last() *call {
	last := &k.calls[0]
	for i := range k.calls {
		if c := &k.calls[i]; c.returned && (!last.returned || c.ret.At > last.ret.At) {
			last = c
		}
	}
	return last
}

// unavailableWithoutCause finds responses that were not kept although there was room for them.
// That a server says so is no cause.
func (e *episode) unavailableWithoutCause(k *key) {
	if k.wasHit(history.Large, history.Full) || anyIn(e.faults.full, k.from, k.to) {
		return
	}
	for i := range k.calls {
		if c := &k.calls[i]; c.refused(codeUnavailable) {
			e.find(k, UnavailableWithoutCause, "%s: nothing was large or full", c.ID)
		}
	}
}

// failureReplayed finds replays of what is never kept: failures, and the 409 after a Forget. The
// 409s of package idempotent are not replays, and that of the provider is kept.
func (e *episode) failureReplayed(k *key) {
	for i := range k.calls {
		c := &k.calls[i]
		conflict := c.ret.Status == http.StatusConflict && !c.refused(codeProviderConflict)
		if c.ret.Replayed && (!idempotent.DefaultKeep(c.ret.Status) || conflict) {
			e.find(k, FailureReplayed, "%s: %s", c.ID, c.answer())
		}
	}
}
