package check

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// The causes of a further effect or answer, as in Result.Duplicates.
const (
	causeDied       = "process died"
	causeLost       = "lease lost"
	causeUnrecorded = "response not recorded"
	causePanic      = "panic"
	causeMaxRun     = "MaxRun passed"
	causeFailed     = "answered 5xx"
	causeForget     = "Forget"
	causeForgotten  = "record lost by the store"
)

// duplicateEffect finds effects that happened more often than the way allows.
func (e *episode) duplicateEffect(k *key) {
	n := len(k.effects)
	switch {
	case n < 2:
	case k.way == history.Plain:
		e.duplicatePlain(k)
	case k.way == history.BeginEffect && e.allForgotten(k):
		e.allow(k, causeForgotten)
	default: // the provider and the database do not forget
		e.find(k, DuplicateEffect, "%d effects", n)
	}
}

// allForgotten reports whether the store can have lost the mark of each effect before the next one.
func (e *episode) allForgotten(k *key) bool {
	for i, x := range k.effects {
		for _, earlier := range k.effects[:i] {
			if !e.forgot(k, earlier.Run, x.Run, x.At) {
				return false
			}
		}
	}
	return true
}

// duplicatePlain finds effects that nothing explains. A run that was recorded has no cause, and
// only one run is recorded. It need not be the last effect: a run that lost its lease can
// charge after its successor.
func (e *episode) duplicatePlain(k *key) {
	causes := make(map[string]bool)
	var recorded []string // runs
	for i, x := range k.effects {
		if cause := e.cause(k, i); cause != "" {
			causes[cause] = true
			continue
		}
		for _, run := range recorded {
			if !e.forgot(k, run, x.Run, x.At) {
				e.find(k, DuplicateEffect, "nothing explains that run %s was not the only one, and run %s neither", run, x.Run)
				return
			}
			causes[causeForgotten] = true
		}
		recorded = append(recorded, x.Run)
	}
	for _, run := range recorded {
		if e.ranAfter(k, run) {
			return
		}
	}
	for cause := range causes {
		e.allow(k, cause)
	}
}

// ranAfter finds effects of runs that began after a client had been told the answer of the recorded
// run. A run that began before can have an effect after it, but the store refuses its end.
func (e *episode) ranAfter(k *key, recorded string) bool {
	told, ok := k.firstTold(recorded)
	if !ok {
		return false
	}
	for i, x := range k.effects {
		if x.Run == recorded || x.At <= told || e.forgot(k, recorded, x.Run, x.At) {
			continue
		}
		late := x.At-told > int64(longestRun) && !e.faults.stoppedIn(serverOf(x.Run), told, x.At)
		switch cause := e.cause(k, i); {
		case late, cause != causeLost && cause != causeUnrecorded && cause != causeDied:
			e.find(k, DuplicateEffect, "run %s was recorded, and then run %s began", recorded, x.Run)
			return true
		}
	}
	return false
}

// firstTold returns when a client was first told the answer of a run.
func (k *key) firstTold(run string) (at int64, ok bool) {
	for i := range k.calls {
		if c := &k.calls[i]; c.told() && c.ret.Answer.Run == run && (!ok || c.ret.At < at) {
			at, ok = c.ret.At, true
		}
	}
	return at, ok
}

// cause returns why another run could begin although the run of effect n had. It is empty if
// nothing explains that, as after a run that was recorded.
//
// It believes a server that writes that its run lost its lease, was not recorded, or was answered
// 5xx. So it misses a store that fails without a reason. It also misses a record that was lost
// between the effect and the death of its process, if no client had been told the answer. A key
// that met one fault only has NotAsDocumented for both.
func (e *episode) cause(k *key, n int) string {
	x := k.effects[n]
	if end := k.end(x.Run); end != nil {
		return e.causeOfEnd(k, end)
	}
	died, ok := e.faults.deaths[serverOf(x.Run)]
	if !ok {
		return ""
	}
	if told, ok := k.firstTold(x.Run); ok && told < died {
		return "" // its end was recorded while the process lived
	}
	if x.At > 0 && died-x.At > int64(longestRun) && !e.faults.stoppedIn(serverOf(x.Run), x.At, died) {
		return "" // the run had ended
	}
	if n+1 < len(k.effects) && k.effects[n+1].At < died && !e.couldLose(k, k.effects[n+1].At) && !k.wasHit(history.Pause, history.Stop) {
		return "" // the next run began while this process lived and had its lease
	}
	return causeDied
}

// couldLose reports whether a run can have lost its lease before a time. It takes a lease from the
// first request, and those of a Memory do not end.
func (e *episode) couldLose(k *key, at int64) bool {
	return e.rules.Store != stores.Memory && (at-k.from >= int64(e.rules.Lease) || anyIn(e.faults.clock, k.from, at))
}

func (e *episode) causeOfEnd(k *key, end *history.End) string {
	switch {
	case end.Lost && e.couldLose(k, end.At):
		return causeLost
	case end.Lost:
	case end.Outcome == string(idempotent.OutcomeUnrecorded):
		return causeUnrecorded
	case end.Outcome != string(idempotent.OutcomeReleased):
	case end.Status == http.StatusGatewayTimeout, strings.Contains(end.Err, "MaxRun"), strings.Contains(end.Err, "deadline exceeded"):
		return causeMaxRun
	case end.Status == 0 && k.runWasHit(end.Run, history.Panic):
		return causePanic
	case end.Status >= http.StatusInternalServerError:
		return causeFailed
	case end.Status == http.StatusConflict && k.runWasHit(end.Run, history.Forget):
		return causeForget
	}
	return "" // this status is kept
}

// lostEffect finds answers whose effect is missing or different, and effects that no one asked for.
func (e *episode) lostEffect(k *key) {
	for i := range k.calls {
		c := &k.calls[i]
		if !c.created() {
			continue
		}
		x := k.effect(c.ret.Answer.Run)
		switch {
		case x == nil:
			e.find(k, LostEffect, "%s: 201 by run %q, which had no effect", c.ID, c.ret.Answer.Run)
		case x.Amount != c.ret.Answer.Amount:
			e.find(k, LostEffect, "%s: 201 says %d, and run %s had the effect %d", c.ID, c.ret.Answer.Amount, x.Run, x.Amount)
		}
	}
	for _, x := range k.effects {
		switch {
		case !k.asked(x):
			e.find(k, LostEffect, "no call had asked for the effect of %d by run %s", x.Amount, x.Run)
		case !e.decliningAllowed(k, x):
			e.find(k, LostEffect, "a client was told 402, and run %s had an effect", x.Run)
		}
	}
	if len(k.effects) == 0 && k.wasRefused(codeUnavailable) && !k.mayDecline() {
		e.find(k, LostEffect, "a client was told that the response is not available, and there was no effect")
	}
}

// asked reports whether a call had asked for an effect before it happened.
func (k *key) asked(x history.Effect) bool {
	return slices.ContainsFunc(k.calls, func(c call) bool {
		return c.Way == x.Way && c.Amount == x.Amount && (x.At == 0 || c.At <= x.At)
	})
}

// mayDecline reports whether a run can have ended with a 402: by a failpoint, or because an
// operator has settled the key.
func (k *key) mayDecline() bool {
	return k.wasHit(history.Decline) || k.wasRefused(codeUnknown)
}

func (k *key) effect(run string) *history.Effect {
	for i := range k.effects {
		if k.effects[i].Run == run {
			return &k.effects[i]
		}
	}
	return nil
}

// decliningAllowed reports whether an effect does not contradict a 402. In a way that runs again,
// an earlier run can have had the effect. A handler may also decline after its own effect.
func (e *episode) decliningAllowed(k *key, x history.Effect) bool {
	if k.way == history.Plain || k.way == history.DerivedKey {
		return true
	}
	if k.runWasHit(x.Run, history.Decline) {
		return true
	}
	return !slices.ContainsFunc(k.calls, func(c call) bool {
		run := c.ret.Answer.Run
		return c.ret.Status == http.StatusPaymentRequired && !k.unrecorded(run) && !e.forgot(k, run, x.Run, max(c.ret.At, x.At))
	})
}
