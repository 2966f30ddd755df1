package ratelimit

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/track"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-11, as http.Header spells them.
const (
	policyField = "Ratelimit-Policy"
	stateField  = "Ratelimit"
)

// setFields adds the rules to both fields. The fields are lists, so the rules come after
// those of an outer middleware.
func setFields(w http.ResponseWriter, items []item) {
	policies := strings.Join(w.Header()[policyField], ", ")
	states := strings.Join(w.Header()[stateField], ", ")
	for i := range items {
		it := &items[i]
		policy := it.rule.policy
		if it.charge.Limit != it.rule.Limit {
			policy = policyItem(it.rule.quoted, it.charge.Limit)
		}
		policies = addItem(policies, policy)
		states = addItem(states, stateItem(it.rule.quoted, &it.decision))
	}
	track.SetField(w, policyField, []string{policies})
	track.SetField(w, stateField, []string{states})
}

func addItem(list, item string) string {
	if list == "" {
		return item
	}
	return list + ", " + item
}

// quote returns a String of RFC 9651, section 3.3.3.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// policyItem returns an item of RateLimit-Policy. The window is rounded up to whole
// seconds. The quota grows in proportion, rounded down.
func policyItem(quoted string, l Limit) string {
	window, quota := ceilSecond(l.Window), int64(l.Quota)
	quota += quota * int64(window-l.Window) / int64(l.Window) // fits: at most 1e9 times 1e9
	return quoted + ";q=" + strconv.FormatInt(quota, 10) + ";w=" + strconv.FormatInt(int64(window/time.Second), 10)
}

// stateItem returns an item of RateLimit: the units that remain, and the whole seconds,
// at least one, until there is one more.
func stateItem(quoted string, d *Decision) string {
	b := make([]byte, 0, 128)
	b = append(b, quoted...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, max(int64(ceilSecond(d.RefillAfter)/time.Second), 1), 10)
	return string(b)
}

// setRetryAfterMs sets Retry-After-Ms to the wait in milliseconds. This is more precise
// than Retry-After, and less than a second shorter.
func setRetryAfterMs(h http.Header, c *Charge, d *Decision) {
	wait := d.RetryAfter
	if d.RefillAfter > 0 {
		wait = min(wait, max(d.wait(c), wait-time.Second+1))
	}
	ms := (wait-1)/time.Millisecond + 1
	h["Retry-After-Ms"] = []string{strconv.FormatInt(int64(ms), 10)}
}
