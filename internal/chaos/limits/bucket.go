package limits

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/seawall-go/seawall/ratelimit"
)

// A span is a time between two readings of [history.Now].
type span struct{ from, to int64 }

func (s span) overlaps(o span) bool { return s.from <= o.to && o.from <= s.to }

// A charge is a number of units that were taken at some moment of a span. As a gift, the units
// came back.
type charge struct {
	span
	units float64
}

// A denial is a charge that a bucket has denied.
type denial = charge

// A bucket is what is known about one bucket. Each decision was made at some moment of its span.
type bucket struct {
	limit   ratelimit.Limit
	parts   int      // the bucket has this part of the limit: 3 is a third
	taken   []charge // admitted
	unknown []charge // perhaps taken, or not
	gifts   []charge // units that came back, or perhaps came back, other than by time
	lost    []span   // the store lost the bucket; each is also a gift of the burst
	denials []denial
}

func (b *bucket) burst() float64 {
	return float64(cmp.Or(b.limit.Burst, b.limit.Quota)) / float64(b.parts)
}

// rate returns the units that come back in a nanosecond.
func (b *bucket) rate() float64 {
	return float64(b.limit.Quota) / float64(b.limit.Window) / float64(b.parts)
}

// rounding is the units that do not count: rounding errors, and those of 50 microseconds.
const rounding = 1e-3

// A window is the span in which a bucket has admitted the most, in relation to what it may admit.
type window struct {
	span
	admitted, allowed float64
	first             int64 // the first end of a window in which too much was admitted; 0 if there is none
}

// worst returns the window with the least room. In no window can the units that were surely taken
// in it be more than the burst, what comes back in it, and the gifts that may have been in it.
//
// So for every pair of times, taken − gifts − rate·(to−from) must not be over the burst. The
// charges are added in the order of their ends, which are the candidates for the end of a window.
// A tree has the best begin for each: it takes O(n log n).
func (b *bucket) worst() (w window) {
	type event struct {
		at, pos int64 // added when windows end at the time "at"; counts in windows from before "pos"
		units   float64
		begins  bool // whether a window may begin at pos
	}
	var events []event
	for _, c := range b.taken {
		events = append(events, event{c.to, c.from, c.units, true})
	}
	for _, g := range b.gifts {
		events = append(events, event{g.from, g.to, -g.units, false})
	}
	slices.SortFunc(events, func(x, y event) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.units, y.units)) // gifts first
	})
	places := make([]int64, len(events))
	for i, e := range events {
		places[i] = e.pos
	}
	slices.Sort(places)
	places = slices.Compact(places)
	t := newTree(len(places))
	most := math.Inf(-1)
	for _, e := range events {
		i, _ := slices.BinarySearch(places, e.pos)
		t.add(i, e.units, e.begins, b.rate()*float64(places[i]-places[0]))
		if !e.begins {
			continue
		}
		sum, first := t.best()
		over := sum - b.rate()*float64(e.at-places[0])
		if w.first == 0 && over > b.burst()+rounding {
			w.first = e.at
		}
		if over > most {
			most = over
			w.span = span{places[first], e.at}
		}
	}
	if len(b.taken) == 0 {
		return window{}
	}
	w.allowed = b.burst() + b.rate()*float64(w.to-w.from)
	for _, g := range b.gifts {
		if g.overlaps(w.span) {
			w.allowed += g.units
		}
	}
	for _, c := range b.taken {
		if c.from >= w.from && c.to <= w.to {
			w.admitted += c.units
		}
	}
	return w
}

// tree has for each place a value, and a number of units that counts for all places up to it. It
// finds the place with the largest total.
type tree struct {
	size  int
	units []float64
	total []float64 // the largest total below a node, without the units to the right of the node
	place []int     // of the largest total
}

func newTree(n int) *tree {
	size := 1
	for size < n {
		size *= 2
	}
	t := &tree{size, make([]float64, 2*size), make([]float64, 2*size), make([]int, 2*size)}
	for i := range t.total {
		t.total[i] = math.Inf(-1)
		t.place[i] = i - size
	}
	return t
}

// add adds units at a place. If begins is set, the place counts from now on, with the value.
func (t *tree) add(place int, units float64, begins bool, value float64) {
	i := place + t.size
	t.units[i] += units
	if begins || !math.IsInf(t.total[i], -1) {
		t.total[i] = value + t.units[i]
	}
	for i /= 2; i > 0; i /= 2 {
		left, right := 2*i, 2*i+1
		t.units[i] = t.units[left] + t.units[right]
		t.total[i], t.place[i] = t.total[right], t.place[right]
		if sum := t.total[left] + t.units[right]; sum > t.total[i] {
			t.total[i], t.place[i] = sum, t.place[left]
		}
	}
}

func (t *tree) best() (total float64, place int) { return t.total[1], t.place[1] }

// A wrong is a denial without cause: the bucket held at least so many units.
type wrong struct {
	denial
	held float64
}

// unfounded returns the denials of charges for which the bucket surely had room. It replays the
// bucket with every charge as late as possible, which leaves the least, and takes what is under way
// at a denial for taken. It is not for buckets with gifts of other kinds than lost ones: a gift to
// a bucket that is nearly full is cut, so it would have to be known when each was given.
func (b *bucket) unfounded() (wrongs []wrong) {
	charges := slices.Concat(b.taken, b.unknown)
	slices.SortFunc(charges, func(x, y charge) int { return cmp.Compare(x.to, y.to) })
	begun := slices.Clone(charges)
	slices.SortFunc(begun, func(x, y charge) int { return cmp.Compare(x.from, y.from) })
	sums := make([]float64, len(begun)+1)
	for i, c := range begun {
		sums[i+1] = sums[i] + c.units
	}
	denials := slices.Clone(b.denials)
	slices.SortFunc(denials, func(x, y denial) int { return cmp.Compare(x.from, y.from) })
	lost := slices.Clone(b.lost)
	slices.SortFunc(lost, func(x, y span) int { return cmp.Compare(x.to, y.to) })

	held, at, ended := b.burst(), int64(0), 0.0
	forward := func(to int64) {
		held = min(held+b.rate()*float64(to-at), b.burst())
		at = to
	}
	for _, d := range denials {
		for len(charges) > 0 && charges[0].to <= d.from || len(lost) > 0 && lost[0].to <= d.from {
			if len(lost) > 0 && (len(charges) == 0 || lost[0].to <= charges[0].to) {
				forward(lost[0].to)
				held, lost = b.burst(), lost[1:]
				continue
			}
			forward(charges[0].to)
			held = max(held-charges[0].units, 0) // a charge never makes a debt
			ended += charges[0].units
			charges = charges[1:]
		}
		forward(d.from)
		i := sort.Search(len(begun), func(i int) bool { return begun[i].from > d.to })
		if least := held - (sums[i] - ended); least >= d.units+10*rounding {
			wrongs = append(wrongs, wrong{d, least})
		}
	}
	return wrongs
}
