package ratelimit

import (
	"net/http"
	"strconv"
	"time"

	"github.com/seawall-go/seawall/internal/track"
)

// The older fields, which no standard defines.
const (
	legacyLimit     = "X-Ratelimit-Limit"
	legacyRemaining = "X-Ratelimit-Remaining"
	legacyReset     = "X-Ratelimit-Reset"
)

// setLegacy sets the older fields. They can describe only one rule. That is the rule that
// denies the request, or else the rule that leaves the fewest units, which may be a rule
// of an outer middleware.
func setLegacy(w http.ResponseWriter, items []item, denial *item) {
	shown := denial
	if shown == nil {
		shown = tightest(items)
		if outer, ok := readLegacy(w.Header()); ok && !legacyOf(shown).tighter(outer) {
			return
		}
	}
	// The larger of quota and burst, so that the limit is never less than the remaining
	// units.
	limit := max(shown.charge.Limit.Quota, shown.charge.Limit.burst())
	state := legacyOf(shown)
	track.SetField(w, legacyLimit, []string{strconv.Itoa(limit)})
	track.SetField(w, legacyRemaining, []string{strconv.FormatInt(state.remaining, 10)})
	track.SetField(w, legacyReset, []string{strconv.FormatInt(state.reset, 10)})
}

// tightest returns the item that leaves the fewest units.
func tightest(items []item) *item {
	least := &items[0]
	for i := range items[1:] {
		if it := &items[i+1]; legacyOf(it).tighter(legacyOf(least)) {
			least = it
		}
	}
	return least
}

// legacyState is the number of units in a bucket, and of the seconds until it is full,
// rounded up.
type legacyState struct{ remaining, reset int64 }

func legacyOf(it *item) legacyState {
	d := &it.decision
	return legacyState{remaining: int64(d.Remaining), reset: int64(ceilSecond(d.ResetAfter) / time.Second)}
}

// readLegacy returns the state that an outer middleware has set. It returns false if a
// number is missing.
func readLegacy(h http.Header) (legacyState, bool) {
	remaining, err := strconv.ParseInt(h.Get(legacyRemaining), 10, 64)
	if err != nil {
		return legacyState{}, false
	}
	reset, err := strconv.ParseInt(h.Get(legacyReset), 10, 64)
	return legacyState{remaining, reset}, err == nil
}

// tighter reports whether s leaves fewer units than other, or as many but needs longer
// until the bucket is full.
func (s legacyState) tighter(other legacyState) bool {
	return s.remaining < other.remaining || s.remaining == other.remaining && s.reset > other.reset
}
