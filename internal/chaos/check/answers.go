package check

import (
	"net/http"
	"slices"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// twoAnswers finds answers of a key that differ. The answer of a run that was not recorded is sent
// all the same, and then another run answers. If the answer is a 201, only the ways that run again
// have that: in the others, the next answer comes from the effect of the first run.
func (e *episode) twoAnswers(k *key) {
	type answer struct {
		status int
		history.Answer
	}
	var seen, recorded []answer
	latest := int64(0)
	for i := range k.calls {
		c := &k.calls[i]
		a := answer{c.ret.Status, c.ret.Answer}
		if !c.told() || slices.Contains(seen, a) {
			continue
		}
		seen, latest = append(seen, a), max(latest, c.ret.At)
		again := k.way == history.Plain || k.way == history.DerivedKey || a.status == http.StatusPaymentRequired
		if !again || !k.unrecorded(a.Run) {
			recorded = append(recorded, a)
		}
	}
	switch {
	case len(seen) < 2:
	case len(recorded) < 2:
		e.allow(k, "two answers: "+causeUnrecorded)
	case e.forgets(k, latest):
		e.allow(k, "two answers: "+causeForgotten)
	default:
		e.find(k, TwoAnswers, "the answers differ: %+v", seen)
	}
}

// unrecorded reports whether the end of a run could not be recorded.
func (k *key) unrecorded(run string) bool {
	end := k.end(run)
	return end != nil && end.Outcome == string(idempotent.OutcomeUnrecorded)
}

// anothersAnswer finds answers that belong to another key or amount.
func (e *episode) anothersAnswer(k *key) {
	for i := range k.calls {
		c := &k.calls[i]
		a := c.ret.Answer
		switch {
		case !c.created() && a == history.Answer{}:
		case c.told() && a.Key != k.name, c.created() && a.Amount != c.Amount:
			e.find(k, AnothersAnswer, "%s: a request for %d was answered %d with %+v", c.ID, c.Amount, c.ret.Status, a)
		}
	}
}

// falseConflict finds conflicts of requests that do not differ.
func (e *episode) falseConflict(k *key) {
	for i := range k.calls {
		if c := &k.calls[i]; !k.mixed && c.refused(codeConflict) {
			e.find(k, FalseConflict, "%s: all requests of the key have the amount %d", c.ID, c.Amount)
		}
	}
}

// missedConflict finds different requests that were both answered 201.
func (e *episode) missedConflict(k *key) {
	var first *call
	for i := range k.calls {
		c := &k.calls[i]
		switch {
		case !k.mixed || !c.created():
		case first == nil:
			first = c
		case c.Amount != first.Amount && !e.forgets(k, max(c.ret.At, first.ret.At)):
			e.find(k, MissedConflict, "%s for %d and %s for %d were both answered 201", first.ID, first.Amount, c.ID, c.Amount)
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

// noFinalAnswer finds keys that were never answered.
func (e *episode) noFinalAnswer(k *key) {
	if _, ok := k.firstFinal(); !ok && len(k.calls) > 0 {
		e.find(k, NoFinalAnswer, "the last answer is %s", k.last().answer())
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
func (e *episode) unavailableWithoutCause(k *key) {
	for i := range k.calls {
		c := &k.calls[i]
		if c.refused(codeUnavailable) && !k.wasHit(history.Large, history.Full) && !k.notKept() && !anyIn(e.faults.full, k.from, k.to) {
			e.find(k, UnavailableWithoutCause, "%s: nothing was large or full", c.ID)
		}
	}
}

// notKept reports whether a server said that it did not keep a response.
func (k *key) notKept() bool {
	return slices.ContainsFunc(k.ends, func(x history.End) bool {
		return x.Outcome == string(idempotent.OutcomeNotKept) || x.Outcome == string(idempotent.OutcomeStoreFull)
	})
}

// failureReplayed finds replays of what is never kept: failures, and the 409 after a Forget. The
// 409s of package idempotent are not replays.
func (e *episode) failureReplayed(k *key) {
	for i := range k.calls {
		c := &k.calls[i]
		if c.ret.Replayed && (!idempotent.DefaultKeep(c.ret.Status) || c.ret.Status == http.StatusConflict) {
			e.find(k, FailureReplayed, "%s: %s", c.ID, c.answer())
		}
	}
}
