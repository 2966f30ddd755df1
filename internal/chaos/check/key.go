package check

import (
	"cmp"
	"iter"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// A key is what happened to one key. It is valid until the next one.
type key struct {
	name     string
	way      history.Way
	calls    []call           // in the order of their beginning
	effects  []history.Effect // in the order of time
	ends     []history.End
	hits     []history.Hit
	from, to int64 // from the first request to the last answer
	mixed    bool  // not all calls have the same amount
	found    bool  // there is a finding
}

// A call is a Call and its Return, if it has one.
type call struct {
	*history.Call
	ret      history.Return
	returned bool
}

// The codes that a client may be answered with a 409. The last one is the service's: the provider
// has made a charge of another amount under the same DerivedKey.
const (
	codeConflict         = "idempotency_conflict"
	codeUnknown          = "idempotency_outcome_unknown"
	codeUnavailable      = "idempotency_response_unavailable"
	codeProviderConflict = "provider_conflict"
)

// until returns the time of the answer. A call without one may take effect at any later time.
func (c *call) until() int64 {
	if c.returned {
		return c.ret.At
	}
	return math.MaxInt64
}

// told reports whether the answer is that of a run: 201 or 402.
func (c *call) told() bool {
	return c.ret.Status == http.StatusCreated || c.ret.Status == http.StatusPaymentRequired
}

func (c *call) created() bool { return c.ret.Status == http.StatusCreated }

func (c *call) refused(code string) bool {
	return c.ret.Status == http.StatusConflict && c.ret.Code == code
}

// final reports whether the client need not send the request again.
func (c *call) final() bool {
	return c.told() || c.refused(codeConflict) || c.refused(codeUnavailable)
}

// answer returns the answer as in a Count: the status and the code of the error.
func (c *call) answer() string {
	switch {
	case c.ret.Status == 0:
		return "none"
	case c.ret.Code == "":
		return strconv.Itoa(c.ret.Status)
	}
	return strconv.Itoa(c.ret.Status) + " " + c.ret.Code
}

// isAnswered reports whether a call with an amount has a final answer.
func (k *key) isAnswered(amount int) bool {
	return slices.ContainsFunc(k.calls, func(c call) bool {
		return c.Amount == amount && (c.final() || c.refused(codeProviderConflict))
	})
}

// firstFinal returns when the first final answer came. It reports false if there is none.
func (k *key) firstFinal() (at int64, ok bool) {
	at = math.MaxInt64
	for i := range k.calls {
		if c := &k.calls[i]; c.final() {
			at, ok = min(at, c.ret.At), true
		}
	}
	return at, ok
}

// end returns how a run ended. It is nil if the run was recorded or its process died.
func (k *key) end(run string) *history.End {
	for i := range k.ends {
		if k.ends[i].Run == run {
			return &k.ends[i]
		}
	}
	return nil
}

// wasRefused reports whether a call was answered 409 with a code.
func (k *key) wasRefused(code string) bool {
	return slices.ContainsFunc(k.calls, func(c call) bool { return c.refused(code) })
}

// runWasHit reports whether an action hit a run.
func (k *key) runWasHit(run string, a history.Action) bool {
	return slices.ContainsFunc(k.hits, func(h history.Hit) bool { return h.Action == a && h.Run == run })
}

// wasHit reports whether an action hit the key.
func (k *key) wasHit(actions ...history.Action) bool {
	return slices.ContainsFunc(k.hits, func(h history.Hit) bool { return slices.Contains(actions, h.Action) })
}

// keysOf returns the keys of a history, in the order of their first events. All keys share their
// memory.
func keysOf(h *history.History) iter.Seq[*key] {
	return func(yield func(*key) bool) {
		x := index{numbers: make(map[string]int32, len(h.Calls)/2)}
		calls := x.group(len(h.Calls), func(i int) string { return h.Calls[i].Key })
		effects := x.group(len(h.Effects), func(i int) string { return h.Effects[i].Key })
		ends := x.group(len(h.Ends), func(i int) string { return h.Ends[i].Key })
		hits := x.group(len(h.Hits), func(i int) string { return h.Hits[i].Key })
		k := new(key)
		for n, name := range x.names {
			*k = key{name: name, calls: k.calls[:0], effects: k.effects[:0], ends: k.ends[:0], hits: k.hits[:0]}
			for _, i := range calls.of(n) {
				c := call{Call: &h.Calls[i]}
				c.ret, c.returned = h.Returns[c.ID]
				k.calls = append(k.calls, c)
			}
			for _, i := range effects.of(n) {
				k.effects = append(k.effects, h.Effects[i])
			}
			for _, i := range ends.of(n) {
				k.ends = append(k.ends, h.Ends[i])
			}
			for _, i := range hits.of(n) {
				k.hits = append(k.hits, h.Hits[i])
			}
			if k.complete(); !yield(k) {
				return
			}
		}
	}
}

// complete sorts the events of a key, and derives the rest from them.
func (k *key) complete() {
	slices.SortStableFunc(k.calls, func(a, b call) int { return cmp.Compare(a.At, b.At) })
	slices.SortStableFunc(k.effects, func(a, b history.Effect) int { return cmp.Compare(a.At, b.At) })
	if len(k.calls) == 0 {
		if len(k.effects) > 0 {
			k.way = k.effects[0].Way
		}
		return
	}
	k.way, k.from = k.calls[0].Way, k.calls[0].At
	for i := range k.calls {
		k.to = max(k.to, k.calls[i].until())
		k.mixed = k.mixed || k.calls[i].Amount != k.calls[0].Amount
	}
}

// An index numbers the keys.
type index struct {
	numbers map[string]int32
	names   []string
}

// groups are the positions of a list's elements, by the number of their key.
type groups struct {
	ends      []int32 // of the groups, in positions
	positions []int32
}

// group returns the groups of a list with n elements. It numbers keys that are new.
func (x *index) group(n int, keyOf func(int) string) groups {
	of := make([]int32, n)
	for i := range n {
		name := keyOf(i)
		number, ok := x.numbers[name]
		if !ok {
			number = int32(len(x.names))
			x.numbers[name] = number
			x.names = append(x.names, name)
		}
		of[i] = number
	}
	g := groups{ends: make([]int32, len(x.names)+1), positions: make([]int32, n)}
	for _, number := range of {
		g.ends[number+1]++
	}
	for i := range x.names {
		g.ends[i+1] += g.ends[i]
	}
	for i, number := range of { // each start moves to the end of its group
		g.positions[g.ends[number]] = int32(i)
		g.ends[number]++
	}
	return g
}

// of returns the positions of a key's elements. A key that was numbered later has none.
func (g groups) of(number int) []int32 {
	if number >= len(g.ends)-1 {
		return nil
	}
	start := int32(0)
	if number > 0 {
		start = g.ends[number-1]
	}
	return g.positions[start:g.ends[number]]
}
