package ledger

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/limits"
)

// plotUnavailable shows for each store how long keys waited for their final answers. The scale of
// the y axis is that of nines, so that the rare long waits can be seen.
func (l *Ledger) plotUnavailable() []byte {
	most := 1
	for _, s := range l.Stores {
		most = max(most, s.Unavailable.Total())
	}
	// The last point of a curve would be at infinity. It is where half a key is missing.
	share := func(seen, total int) float64 { return min(float64(seen), float64(total)-.5) / float64(total) }
	nines := -math.Log10(1 - share(most, most))
	c := chart{
		title: "Time until a key has its final answer",
		x: axis{
			scale: func(ms float64) float64 { return math.Log10(ms) / 5 },
			ticks: []tick{{1, "1 ms"}, {10, "10 ms"}, {100, "100 ms"}, {1e3, "1 s"}, {1e4, "10 s"}, {1e5, "100 s"}},
		},
		y: axis{
			label: "% of the keys",
			scale: func(share float64) float64 { return -math.Log10(1-share) / nines },
			ticks: []tick{{0, "0"}, {.5, "50"}, {.9, "90"}, {.99, "99"}, {.999, "99.9"}, {.9999, "99.99"}, {.99999, "99.999"}},
		},
	}
	c.y.ticks = slices.DeleteFunc(c.y.ticks, func(t tick) bool { return c.y.scale(t.at) > 1 })
	for _, s := range l.Stores {
		one := curve{name: title(s.Name)}
		total, seen := s.Unavailable.Total(), 0
		for n, count := range s.Unavailable {
			seen += count
			if count == 0 {
				continue
			}
			ms := float64(check.Edge(n+1)) / float64(time.Millisecond)
			one.points = append(one.points, [2]float64{ms, share(seen, total)})
		}
		c.curves = append(c.curves, one)
	}
	const width, height, legend = 760, 400, 22
	return svg(width, height, func(b *strings.Builder) {
		drawLegend(b, plotLeft, height-8, c.curves)
		c.draw(b, 0, 0, width, height-legend+20)
	})
}

// plotHits shows how often each action hit each window.
func (l *Ledger) plotHits() []byte {
	hits := l.hitsAtPoints()
	most := 0
	for _, n := range hits {
		most = max(most, n)
	}
	inServers, onTheWay := windows[1:], windows[:1]
	failpoints := slices.Index(actions, history.Unsent)
	const left, size, row, top, gap = 100, 50, 26, 70, 78
	width := left + size*failpoints + 20
	height := top + row*len(inServers) + gap + row + 12
	return svg(width, height, func(b *strings.Builder) {
		fmt.Fprintf(b, `<text class="title" x="%d" y="18">Requests hit, by window and action</text>`+"\n", left)
		grid := func(y int, rows []history.Window, columns []history.Action) {
			for i, a := range columns {
				fmt.Fprintf(b, `<text transform="translate(%d %d) rotate(-35)">%s</text>`+"\n",
					left+size*i+size/2-6, y-8, a)
			}
			for j, w := range rows {
				fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, y+row*j+row/2+4, w)
				for i, a := range columns {
					drawHeat(b, left+size*i, y+row*j, size-2, row-2, hits[point{w, a}], most)
				}
			}
		}
		grid(top, inServers, actions[:failpoints])
		grid(top+row*len(inServers)+gap, onTheWay, actions[failpoints:])
	})
}

// drawHeat draws a cell of a heat map. It is empty without hits.
func drawHeat(b *strings.Builder, x, y, width, height, count, most int) {
	if count == 0 {
		return
	}
	heat := .1 + .9*math.Sqrt(float64(count)/float64(most))
	ink := "weak"
	if heat > .65 {
		ink = "strong"
	}
	fmt.Fprintf(b, `<rect class="heat" x="%d" y="%d" width="%d" height="%d" rx="2" fill-opacity="%.2f"/>`,
		x, y, width, height, heat)
	fmt.Fprintf(b, `<text class="%s" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
		ink, x+width/2, y+height/2+4, thousands(count))
}

// A point is where and how a request was hit.
type point struct {
	window history.Window
	action history.Action
}

// hitsAtPoints returns how often each point was hit, in all ways and with all stores.
func (l *Ledger) hitsAtPoints() map[point]int {
	hits := make(map[point]int)
	for _, s := range l.Stores {
		for _, c := range s.Cells {
			hits[point{c.Window, c.Action}] += c.Hits
		}
	}
	return hits
}

// plotBrownOut shows for each trouble what reaches the upstream, and what its clients get.
func (l *Ledger) plotBrownOut() []byte {
	const width, height, legend = 470, 230, 34
	scenarios := l.BrownOut.Scenarios
	return svg(2*width, height*len(scenarios)+legend, func(b *strings.Builder) {
		for row, s := range scenarios {
			attempts := overTime(s, "attempts per second", func(s brownout.Second) int { return s.Attempts })
			attempts.title = "The upstream " + troubles[s.Name]
			attempts.draw(b, 0, row*height, width, height)
			good := overTime(s, "good answers per second", func(s brownout.Second) int { return s.Good })
			good.draw(b, width, row*height, width, height)
			if row == len(scenarios)-1 {
				drawLegend(b, plotLeft, len(scenarios)*height+legend/2, good.curves)
			}
		}
	})
}

// troubles are what the upstream of a brown-out does.
var troubles = map[string]string{
	brownout.Slow:   "takes ten times as long",
	brownout.Hangs:  "is stopped",
	brownout.Killed: "is killed",
}

// overTime returns a chart of a count in each second, with a curve for each arm.
func overTime(s brownout.Scenario, label string, count func(brownout.Second) int) chart {
	c := chart{shade: [2]float64{s.Healthy, s.Healthy + s.Trouble}}
	most := 0
	for _, a := range s.Arms {
		one := curve{name: a.Name}
		for i, second := range a.Seconds {
			most = max(most, count(second))
			one.points = append(one.points, [2]float64{float64(i) + .5, float64(count(second))})
		}
		c.curves = append(c.curves, one)
	}
	c.x = upTo(s.Healthy+s.Trouble+s.After, "seconds", false)
	c.y = upTo(float64(most), label, true)
	return c
}

// plotLimits shows for each route what was admitted in each window of some seconds, and the bound.
func (l *Ledger) plotLimits() []byte {
	const width, height, legend, perRow, window = 470, 230, 34, 2, 5
	arms := l.Limits.Arms
	rows := (len(arms) + perRow - 1) / perRow
	return svg(perRow*width, rows*height+legend, func(b *strings.Builder) {
		for i, a := range arms {
			c := chart{title: a.Name, x: upTo(float64(len(a.Seconds)), "seconds", false)}
			most := a.Burst + window*a.Rate
			c.curves = []curve{
				{name: "offered"}, {name: "admitted by Redis"}, {name: "by local limiters"}, {name: "without a limit"},
				{name: "bound in Redis", dashed: true, points: [][2]float64{{0, most}, {float64(len(a.Seconds)), most}}},
			}
			for end := window; end <= len(a.Seconds); end++ {
				var sum limits.Second
				for _, s := range a.Seconds[end-window : end] {
					sum.Offered += s.Offered
					sum.Redis += s.Redis
					sum.Local += s.Local
					sum.Open += s.Open
				}
				for n, v := range []int{sum.Offered, sum.Redis, sum.Local, sum.Open} {
					c.curves[n].points = append(c.curves[n].points, [2]float64{float64(end), float64(v)})
					most = max(most, float64(v))
				}
			}
			c.y = upTo(most, fmt.Sprintf("units in %d s", window), true)
			c.draw(b, i%perRow*width, i/perRow*height, width, height)
			if i == 0 {
				drawLegend(b, plotLeft, rows*height+legend/2, c.curves)
			}
		}
	})
}
