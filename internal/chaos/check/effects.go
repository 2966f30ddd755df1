package check

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
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
	case k.way == history.BeginEffect && e.forgets(k, k.effects[n-1].At):
		e.allow(k, causeForgotten)
	default: // the provider and the database do not forget
		e.find(k, DuplicateEffect, "%d effects", n)
	}
}

// duplicatePlain finds effects that nothing explains. A run that was recorded has no cause, and
// only one run is recorded. It need not be the last effect: a run that lost its lease can
// charge after its successor.
func (e *episode) duplicatePlain(k *key) {
	causes := make(map[string]bool)
	recorded := -1
	for i, x := range k.effects {
		cause := e.cause(k, x)
		switch {
		case cause != "":
		case recorded < 0:
			recorded = i
			continue
		case e.forgets(k, x.At):
			cause, recorded = causeForgotten, i
		default:
			e.find(k, DuplicateEffect, "nothing explains that run %s was not the only one, and run %s neither", k.effects[recorded].Run, x.Run)
			return
		}
		causes[cause] = true
	}
	if recorded >= 0 && e.ranAfter(k, k.effects[recorded].Run) {
		return
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
	for _, x := range k.effects {
		if x.Run == recorded || x.At <= told || e.forgets(k, x.At) {
			continue
		}
		late := x.At-told > int64(longestRun) && !e.faults.stoppedIn(serverOf(x.Run), told, x.At)
		switch cause := e.cause(k, x); {
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

// cause returns why another run could begin although the run of an effect had. It is empty if
// nothing explains that, as after a run that was recorded.
func (e *episode) cause(k *key, x history.Effect) string {
	if end := k.end(x.Run); end != nil {
		cause := causeOfEnd(end)
		if cause == causeLost && !e.couldLose(k, end) {
			return ""
		}
		return cause
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
	return causeDied
}

// couldLose reports whether a run can have lost its lease: it needs time for that.
func (e *episode) couldLose(k *key, end *history.End) bool {
	return end.At-k.from >= int64(e.rules.Lease) || anyIn(e.faults.clock, k.from, end.At)
}

func causeOfEnd(end *history.End) string {
	switch {
	case end.Lost:
		return causeLost
	case end.Outcome == string(idempotent.OutcomeUnrecorded):
		return causeUnrecorded
	case end.Outcome != string(idempotent.OutcomeReleased):
		return ""
	case end.Status == http.StatusGatewayTimeout, strings.Contains(end.Err, "MaxRun"), strings.Contains(end.Err, "deadline exceeded"):
		return causeMaxRun
	case end.Status == 0:
		return causePanic
	case end.Status >= http.StatusInternalServerError:
		return causeFailed
	case end.Status == http.StatusConflict:
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
		case !slices.ContainsFunc(k.calls, func(c call) bool { return c.Amount == x.Amount }):
			e.find(k, LostEffect, "no call asked for the effect of %d by run %s", x.Amount, x.Run)
		case !e.decliningAllowed(k, x):
			e.find(k, LostEffect, "a client was told 402, and run %s had an effect", x.Run)
		}
	}
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
	declined := slices.ContainsFunc(k.calls, func(c call) bool {
		return c.ret.Status == http.StatusPaymentRequired && !k.unrecorded(c.ret.Answer.Run)
	})
	byItself := slices.ContainsFunc(k.hits, func(h history.Hit) bool {
		return h.Action == history.Decline && h.Run == x.Run
	})
	return !declined || byItself || e.forgets(k, k.to)
}
