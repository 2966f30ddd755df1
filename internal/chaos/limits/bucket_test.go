package limits

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

const second = int64(time.Second)

func at(from, to float64, units float64) charge {
	return charge{span{int64(from * 1e9), int64(to * 1e9)}, units}
}

// tenSeconds returns a bucket of ten units, which come back in ten seconds.
func tenSeconds() *bucket {
	return &bucket{limit: ratelimit.Limit{Quota: 10, Window: 10 * time.Second}, parts: 1}
}

func TestWorstWindow(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		taken, gifts []charge
		parts        int
		exceeds      bool
	}{
		"nothing":                           {},
		"the burst":                         {taken: []charge{at(1, 1, 10)}},
		"more than the burst":               {taken: []charge{at(1, 1, 10), at(1, 1, 1)}, exceeds: true},
		"a unit too early":                  {taken: []charge{at(1, 1, 10), at(1.9, 1.9, 1)}, exceeds: true},
		"a unit in time":                    {taken: []charge{at(1, 1, 10), at(2, 2, 1)}},
		"a unit that was perhaps in time":   {taken: []charge{at(1, 1.2, 10), at(1.9, 2.1, 1)}},
		"after a rest, more than the burst": {taken: []charge{at(1, 1, 1), at(100, 100, 10), at(100, 100.1, 1)}, exceeds: true},
		"after a gift":                      {taken: []charge{at(1, 1, 10), at(1.2, 1.2, 3)}, gifts: []charge{at(1.1, 1.15, 3)}},
		"a gift that was too small":         {taken: []charge{at(1, 1, 10), at(1.2, 1.2, 3)}, gifts: []charge{at(1.1, 1.15, 2)}, exceeds: true},
		"a gift that came too late":         {taken: []charge{at(1, 1, 10), at(1.2, 1.2, 3)}, gifts: []charge{at(1.3, 1.5, 3)}, exceeds: true},
		"a gift that came too early":        {taken: []charge{at(1, 1, 10), at(1.2, 1.2, 3)}, gifts: []charge{at(0.3, 0.5, 3)}, exceeds: true},
		"a half":                            {taken: []charge{at(1, 1, 5), at(3, 3, 1)}, parts: 2},
		"more than a half":                  {taken: []charge{at(1, 1, 5), at(2.9, 2.9, 1)}, parts: 2, exceeds: true},
	} {
		b := tenSeconds()
		b.taken, b.gifts, b.parts = row.taken, row.gifts, max(row.parts, 1)
		w := b.worst()
		require.Equal(t, row.exceeds, w.first != 0, name)
		require.Equal(t, row.exceeds, w.admitted > w.allowed+rounding, name)
	}
}

// The tree finds the same window as a search over all pairs of times.
func TestWorstWindowIsThatOfASearch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		random := func() charge {
			from := r.Int64N(20 * second)
			return charge{span{from, from + r.Int64N(second)}, float64(1 + r.IntN(4))}
		}
		b := tenSeconds()
		for range 1 + r.IntN(40) {
			b.taken = append(b.taken, random())
		}
		for range r.IntN(10) {
			b.gifts = append(b.gifts, random())
		}
		most := math.Inf(-1)
		for _, first := range b.taken {
			for _, last := range b.taken {
				w, over := span{first.from, last.to}, 0.0
				if w.to < w.from {
					continue
				}
				over -= b.rate() * float64(w.to-w.from)
				for _, c := range b.taken {
					if c.from >= w.from && c.to <= w.to {
						over += c.units
					}
				}
				for _, g := range b.gifts {
					if g.overlaps(w) {
						over -= g.units
					}
				}
				most = max(most, over)
			}
		}
		w := b.worst()
		require.InDelta(t, most, w.admitted-w.allowed+b.burst(), 1e-6, "seed %d", seed)
	}
}

func TestUnfoundedDenials(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		taken, unknown []charge
		lost           []span
		denial         denial
		wrong          bool
	}{
		"a new bucket":                      {denial: at(1, 1, 9), wrong: true},
		"an empty bucket":                   {taken: []charge{at(1, 1, 10)}, denial: at(1.5, 1.5, 1)},
		"a unit that has come back":         {taken: []charge{at(1, 1, 10)}, denial: at(2.5, 2.5, 1), wrong: true},
		"a charge that may come first":      {taken: []charge{at(1, 2, 10)}, denial: at(1.5, 1.6, 1)},
		"a charge that comes later":         {taken: []charge{at(2, 2, 10)}, denial: at(1.5, 1.6, 1), wrong: true},
		"a unit that may have come back":    {taken: []charge{at(1, 1, 10)}, denial: at(1.9, 2.5, 1)},
		"a charge that is not known":        {unknown: []charge{at(1, 9, 10)}, denial: at(1.5, 1.6, 1)},
		"a charge that could only be early": {unknown: []charge{at(1, 2, 10)}, denial: at(4, 4, 1), wrong: true},
		"no debt by what is not known":      {unknown: []charge{at(1, 2, 10), at(1, 2, 10)}, denial: at(4, 4, 1), wrong: true},
		"the store has lost the charges":    {taken: []charge{at(1, 1, 10)}, lost: []span{{2 * second, 3 * second}}, denial: at(3, 3, 9), wrong: true},
		"the store loses them later":        {taken: []charge{at(1, 1, 10)}, lost: []span{{2 * second, 3 * second}}, denial: at(2.9, 2.9, 9)},
	} {
		b := tenSeconds()
		b.taken, b.unknown, b.lost, b.denials = row.taken, row.unknown, row.lost, []denial{row.denial}
		require.Equal(t, row.wrong, len(b.unfounded()) > 0, name)
	}
}

// The decisions of a correct bucket at random moments of their spans have no finding.
func TestCorrectBucketHasNoFinding(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		type decision struct {
			at    int64
			span  span
			units float64
		}
		var decisions []decision
		for now := int64(0); now < 60*second; now += r.Int64N(second) {
			s := span{now - r.Int64N(second/2), now + r.Int64N(second/2)}
			decisions = append(decisions, decision{now, s, float64(1 + r.IntN(4))})
		}
		b := tenSeconds()
		held, last := b.burst(), int64(0)
		for _, d := range decisions {
			held = min(held+b.rate()*float64(d.at-last), b.burst())
			last = d.at
			c := charge{d.span, d.units}
			switch {
			case held < d.units:
				b.denials = append(b.denials, c)
				continue
			case r.IntN(5) == 0:
				b.unknown = append(b.unknown, c)
			default:
				b.taken = append(b.taken, c)
			}
			held -= d.units
		}
		require.Zero(t, b.worst().first, "seed %d", seed)
		require.Empty(t, b.unfounded(), "seed %d", seed)
		require.NotEmpty(t, b.denials)
	}
}

func TestUnionOfSpans(t *testing.T) {
	t.Parallel()
	all := spans{{50, 60}, {10, 20}, {15, 30}, {58, 59}}.union()
	require.Equal(t, spans{{10, 30}, {50, 60}}, all)
	for s, want := range map[span]bool{
		{0, 9}: false, {0, 10}: true, {12, 13}: true, {30, 31}: true, {31, 49}: false, {31, 50}: true, {60, 70}: true, {61, 70}: false,
	} {
		require.Equal(t, want, all.overlap(s), "%v", s)
	}
	for s, want := range map[span]bool{
		{10, 30}: true, {11, 12}: true, {9, 12}: false, {29, 31}: false, {29, 55}: false, {60, 60}: true, {61, 62}: false,
	} {
		require.Equal(t, want, all.contain(s), "%v", s)
	}
}
