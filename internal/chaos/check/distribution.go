package check

import (
	"math"
	"slices"
	"time"
)

// A Distribution counts durations on a logarithmic scale. Element n counts those up to Edge(n+1),
// and the last one also those above. The zero value is empty. Its JSON is a list of at most 121
// numbers.
type Distribution []int

const (
	shortest  = time.Millisecond
	perDecade = 20 // so that an edge is 12% above the one before
	longest   = 6 * perDecade
)

// Edge returns the lower end of element n. That of element 0 is a millisecond, although it counts
// what is shorter too.
func Edge(n int) time.Duration {
	return time.Duration(float64(shortest) * math.Pow(10, float64(n)/perDecade)).Round(10 * time.Microsecond)
}

// Add counts a duration in nanoseconds.
func (d *Distribution) Add(t int64) {
	n := 0
	if t > int64(shortest) {
		n = min(int(perDecade*math.Log10(float64(t)/float64(shortest))), longest)
	}
	d.grow(n + 1)
	(*d)[n]++
}

// Merge adds the counts of another distribution.
func (d *Distribution) Merge(o Distribution) {
	d.grow(len(o))
	for n, count := range o {
		(*d)[n] += count
	}
}

func (d *Distribution) grow(length int) {
	if missing := length - len(*d); missing > 0 {
		*d = append(slices.Clip(*d), make([]int, missing)...)
	}
}

// Total returns the number of durations.
func (d *Distribution) Total() int {
	total := 0
	for _, count := range *d {
		total += count
	}
	return total
}

// Quantile returns a duration that at least the share q of all durations is not above, rounded up
// to the next edge. It is 0 if there are no durations.
func (d *Distribution) Quantile(q float64) time.Duration {
	need, seen := q*float64(d.Total()), 0
	for n, count := range *d {
		seen += count
		if count > 0 && float64(seen) >= need {
			return Edge(n + 1)
		}
	}
	return 0
}
